// MLflow's clients print links of its own pages, `…/#/experiments/1/runs/<id>`: on to the run.
(() => {
  const run = /^#\/experiments\/\d+\/runs\/([0-9a-f]{32})/.exec(location.hash);
  if (run) location.replace(`${location.pathname}runs/${run[1]}/`);
})();
