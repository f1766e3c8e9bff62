// Hands the samples of the first channel on as they come.
registerProcessor(
  "tap",
  class extends AudioWorkletProcessor {
    process(inputs) {
      const heard = inputs[0][0];
      if (heard) this.port.postMessage(heard.slice());
      return true;
    }
  },
);
