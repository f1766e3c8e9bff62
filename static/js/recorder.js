// Recording a sound: samples come from the microphone through a worklet and become a WAV file of one
// channel and sixteen bits, which every machine can read.
(() => {
  "use strict";
  const place = document.querySelector("[data-recorder]");
  if (!place || !navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return;
  const LONGEST = 30; // seconds
  const button = place.querySelector("[data-record]");
  const words = place.querySelector("[data-record-words]");
  const time = place.querySelector("[data-record-time]");
  const said = place.querySelector("[data-record-said]");
  let under = null; // what is being recorded
  place.hidden = false;

  const wav = (pieces, rate) => {
    const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const bytes = new DataView(new ArrayBuffer(44 + 2 * count));
    const write = (at, letters) => [...letters].forEach((letter, step) => bytes.setUint8(at + step, letter.charCodeAt(0)));
    write(0, "RIFF");
    bytes.setUint32(4, 36 + 2 * count, true);
    write(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true);
    bytes.setUint16(20, 1, true); // PCM
    bytes.setUint16(22, 1, true); // channels
    bytes.setUint32(24, rate, true);
    bytes.setUint32(28, 2 * rate, true);
    bytes.setUint16(32, 2, true);
    bytes.setUint16(34, 16, true);
    write(36, "data");
    bytes.setUint32(40, 2 * count, true);
    let at = 44;
    for (const piece of pieces)
      for (const sample of piece) {
        bytes.setInt16(at, Math.max(-1, Math.min(1, sample)) * 32767, true);
        at += 2;
      }
    return new Blob([bytes.buffer], { type: "audio/wav" });
  };
  const told = (recording) => {
    button.setAttribute("aria-pressed", String(recording));
    button.classList.toggle("recording", recording);
    words.textContent = recording ? "Stop" : "Record";
  };
  const stop = async () => {
    const { stream, context, pieces, clock } = under;
    under = null;
    clearInterval(clock);
    for (const track of stream.getTracks()) track.stop();
    const rate = context.sampleRate;
    await context.close();
    told(false);
    if (!pieces.length) { said.textContent = "Nothing was heard."; return; }
    const file = new File([wav(pieces, rate)], "recording.wav", { type: "audio/wav" });
    place.dispatchEvent(new CustomEvent("playground:file", { bubbles: true, detail: file }));
  };
  const start = async () => {
    let stream;
    said.textContent = "";
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    } catch {
      said.textContent = "The browser gave no microphone. Allow it for this page, or drop a file.";
      return;
    }
    const context = new AudioContext();
    await context.audioWorklet.addModule(place.dataset.recorder);
    const pieces = [];
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = (event) => { if (under) pieces.push(event.data); };
    context.createMediaStreamSource(stream).connect(tap);
    const began = performance.now();
    const clock = setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      time.textContent = `${seconds.toFixed(1)} s`;
      if (seconds > LONGEST) stop();
    }, 100);
    under = { stream, context, pieces, clock };
    told(true);
  };
  button.addEventListener("click", () => (under ? stop() : start()));
})();
