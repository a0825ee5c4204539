"use strict";
// Records or takes a file, sends it to POST face, and shows the parts of the answer as they come. Nothing is asked of any other server.

const by = (id) => document.getElementById(id);
const MAX_S = Number(document.body.dataset.maxS), MAX_MB = Number(document.body.dataset.maxMb);
const KINDS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const BITS_PER_S = 128000;
const QUIETEST_DB = -60, NOTHING_HEARD_DB = -57, NOTHING_HEARD_S = 3;
// As the pipeline hears recordings: nothing of the voice is filtered away.
const PLAIN = { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 } };
const LEFT = "The recording ended because the page was left. Nothing was sent.";
const NO_MICROPHONE = {
  NotAllowedError: "The browser may not use the microphone. Allow it beside the page's address, or choose a file.",
  NotFoundError: "No microphone was found. Connect one, or choose a file.",
  NotReadableError: "The microphone cannot be used; another program may hold it. Close that program, or choose a file.",
};

let recording = null; // while the microphone is on: {stream, recorder, context, startedAt, timer}
let asking = false;   // for the microphone
let request = null;   // AbortController of the answer that is awaited
let stretched = [];

function say(text) { by("status").textContent = text; }

function fail(text) {
  by("error").textContent = text;
  by("error").hidden = !text;
  if (!text) return;
  say("");
  by("error").scrollIntoView({ block: "nearest" });
}

// ---- the microphone

async function start() {
  fail("");
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    fail("A browser gives its microphone only to pages from localhost or https. Open this page there, or choose a file.");
    return;
  }
  asking = true;
  say("Waiting for the microphone …");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia(PLAIN);
  } catch (error) {
    fail(NO_MICROPHONE[error.name] || "The microphone cannot be used (" + error.name + "). Choose a file instead.");
    return;
  } finally {
    asking = false;
  }
  if (document.hidden) { // left while the browser asked
    stream.getTracks().forEach((track) => track.stop());
    say("");
    return;
  }
  try {
    begin(stream);
  } catch (error) {
    stream.getTracks().forEach((track) => track.stop());
    fail("The browser cannot record (" + error.name + "). Choose a file instead.");
  }
}

function begin(stream) {
  if (request) request.abort();
  const kind = KINDS.find((name) => MediaRecorder.isTypeSupported(name));
  const recorder = new MediaRecorder(stream, { audioBitsPerSecond: BITS_PER_S, ...(kind && { mimeType: kind }) });
  const chunks = [];
  recorder.ondataavailable = (event) => chunks.push(event.data);
  recorder.onstop = () => send(new Blob(chunks), "your recording");
  stream.getTracks()[0].onended = () => stop(); // unplugged, or taken away
  const context = new AudioContext();
  context.resume(); // Safari starts it suspended
  const analyser = new AnalyserNode(context, { fftSize: 2048 });
  context.createMediaStreamSource(stream).connect(analyser);
  recorder.start();
  recording = { stream, recorder, context, startedAt: performance.now(), loudest: -Infinity, timer: 0 };
  recording.timer = setInterval(() => measure(analyser), 80);
  document.body.classList.add("recording");
  by("record-label").textContent = "Stop";
  say("Recording. Press Stop when you have spoken.");
}

function measure(analyser) {
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  const db = 10 * Math.log10(samples.reduce((sum, x) => sum + x * x, 0) / samples.length + 1e-12);
  const seconds = (performance.now() - recording.startedAt) / 1000;
  recording.loudest = Math.max(recording.loudest, db);
  showLevel(Math.min(1, Math.max(0, 1 - db / QUIETEST_DB)), seconds);
  if (seconds > NOTHING_HEARD_S && recording.loudest < NOTHING_HEARD_DB) say("Recording, but nothing is heard. Is the microphone muted?");
  if (seconds >= MAX_S) stop();
}

function showLevel(level, seconds) {
  by("bar").style.transform = "scaleX(" + level.toFixed(3) + ")";
  by("level").setAttribute("aria-valuenow", String(Math.round(100 * level)));
  by("seconds").textContent = Math.min(seconds, MAX_S).toFixed(1) + " of " + MAX_S + " s";
}

function stop(discarded = "") {
  if (!recording) return;
  const { stream, recorder, context, timer } = recording;
  recording = null;
  clearInterval(timer);
  if (discarded) recorder.onstop = null;
  if (recorder.state !== "inactive") recorder.stop();
  stream.getTracks().forEach((track) => track.stop());
  context.close();
  document.body.classList.remove("recording");
  by("record-label").textContent = "Record";
  by("bar").style.transform = "scaleX(0)";
  by("level").setAttribute("aria-valuenow", "0");
  if (discarded) say(discarded);
}

// ---- the answer

async function send(voice, name) {
  fail("");
  if (request) request.abort();
  if (voice.size > MAX_MB * 1e6) {
    fail(name + ": an upload may have " + MAX_MB + " MB; cut it, or save it as mp3, m4a or webm.");
    return;
  }
  const mine = request = new AbortController();
  by("result").hidden = true; // so that no face stands beside another voice's error
  say("Drawing …");
  document.body.setAttribute("aria-busy", "true");
  try {
    const headers = { Accept: "application/x-ndjson", "Content-Type": "application/octet-stream", "X-File-Name": encodeURIComponent(name) };
    const answer = await fetch("face", { method: "POST", body: voice, headers, signal: mine.signal });
    if (!answer.ok) {
      const { error } = await answer.json().catch(() => ({})); // the server's own refusals are no JSON
      throw new Error(error || "The server is busy (" + answer.status + "); try again in a moment");
    }
    await eachLine(answer.body, (part) => show(part));
  } catch (error) {
    if (mine.signal.aborted) return;
    const gone = error instanceof TypeError; // fetch's own error
    fail(gone ? "The server does not answer. Is speech2face serve still running?" : sentence(error.message));
  } finally {
    if (request === mine) document.body.removeAttribute("aria-busy");
  }
}

function sentence(text) { return text.endsWith(".") ? text : text + "."; }

async function eachLine(body, use) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.forEach((line) => use(JSON.parse(line)));
  }
}

function show(part) {
  if (part.error) throw new Error(part.error);
  if (part.face) showFace(part);
  (part.growing || []).forEach(showGrown);
  if (part.real_stretch) {
    by("real").textContent = part.real_stretch > 1
      ? "Real faces are on average " + part.real_stretch.toFixed(1) + " times as far from the mean face as what voices predict." : "";
  }
  if (part.stretched) {
    stretched.push(...part.stretched);
    const slider = by("stretch"), predicted = stretched.findIndex((step) => step.stretch === 1);
    slider.max = String(stretched.length - 1);
    if (predicted >= 0 && slider.disabled) {
      slider.value = String(predicted);
      slider.disabled = false;
    }
    if (!slider.disabled) showStretch();
  }
}

function showFace(part) {
  stretched = [];
  by("stretch").disabled = true;
  by("stretch-text").textContent = "1.0: as predicted";
  by("growing").replaceChildren();
  by("note").firstElementChild.textContent = part.note;
  const seconds = part.heard_s.toFixed(1);
  by("face").src = part.face;
  by("face").alt = "The face that is typical of this voice, as predicted.";
  by("mean").src = part.mean_face;
  by("heard").textContent = "drawn from " + seconds + "\u00a0s";
  by("difference").src = part.difference.picture;
  by("difference").alt = "Where the face is darker than the mean face, blue, and where it is lighter, orange.";
  by("darker").textContent = part.difference.levels + " of 255 levels darker";
  by("lighter").textContent = part.difference.levels + " lighter";
  by("words").replaceChildren(...part.difference.words.map((text) => element("li", text)));
  by("result").hidden = false;
  say("The face is drawn from " + seconds + " s of sound.");
  by("result-title").focus({ preventScroll: true });
  by("result-title").scrollIntoView();
}

function showGrown({ seconds, picture }) {
  const item = document.createElement("li"), text = (seconds % 1 ? seconds.toFixed(1) : seconds) + " s";
  if (picture) {
    const image = element("img");
    image.src = picture;
    image.width = image.height = 224;
    image.alt = "The face after " + text + ".";
    item.append(image);
  } else {
    const silent = element("div", "silent");
    silent.className = "silent";
    item.append(silent);
  }
  item.append(text);
  by("growing").append(item);
}

function showStretch() {
  const { stretch, picture } = stretched[Number(by("stretch").value)];
  const real = stretch > 1 && stretch === stretched[stretched.length - 1].stretch;
  const text = stretch.toFixed(1 + Number(stretch * 10 % 1 > 0.01)) + ": "
    + (stretch === 0 ? "the mean face" : stretch === 1 ? "as predicted" : stretch < 1 ? "nearer to the mean face" : real ? "as far as real faces are" : "stretched");
  by("stretch-text").textContent = text;
  by("stretch").setAttribute("aria-valuetext", text);
  by("face").src = picture;
  by("face").alt = "The face that is typical of this voice, " + text.replace(":", " times as far from the mean face as predicted:") + ".";
}

function element(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// ---- what the visitor does

by("record").addEventListener("click", () => { if (recording) stop(); else if (!asking) start(); });
by("file").addEventListener("change", (event) => take(event.target.files));
by("stretch").addEventListener("input", showStretch);
document.querySelector(".again").addEventListener("click", () => by("record").focus());
document.addEventListener("visibilitychange", () => { if (document.hidden) stop(LEFT); });
window.addEventListener("pagehide", () => stop(LEFT));
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  take(event.dataTransfer.files);
});

function take(files) {
  if (!files.length) return;
  stop("The recording was ended for the file.");
  send(files[0], files[0].name).finally(() => { by("file").value = ""; }); // so that the same file may be chosen again
}
