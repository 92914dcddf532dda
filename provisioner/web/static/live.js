"use strict";

// Everything here is a convenience: without it the pages show the same, and every form works.
(() => {
  const live = document.querySelector("[data-live]");
  if (live && "EventSource" in window) {
    const source = new EventSource(live.dataset.live);
    let waiting = null;
    const show = (html) => {
      // What has the focus is not taken away from under a person's hands
      if (live.contains(document.activeElement)) {
        waiting = html;
        return;
      }
      waiting = null;
      live.innerHTML = html;
    };
    live.addEventListener("focusout", () => setTimeout(() => waiting !== null && show(waiting), 0));
    source.addEventListener("part", (event) => show(event.data));
    source.addEventListener("over", () => {
      source.close();
      const busy = document.activeElement && document.activeElement.matches("input, select, textarea");
      if (live.dataset.wasRunning === "yes" && !busy) {
        location.reload();
      }
    });
    window.addEventListener("pagehide", () => source.close());
  }

  for (const all of document.querySelectorAll("[data-ticks]")) {
    const boxes = [...document.querySelectorAll(`input[data-of="${CSS.escape(all.dataset.ticks)}"]`)];
    const counter = document.querySelector(`[data-count="${CSS.escape(all.dataset.ticks)}"]`);
    const tell = () => {
      if (counter) {
        counter.textContent = `${boxes.filter((box) => box.checked).length} chosen`;
      }
    };
    all.closest("label").hidden = false;
    all.addEventListener("change", () => {
      for (const box of boxes) {
        box.checked = all.checked;
      }
      tell();
    });
    for (const box of boxes) {
      box.addEventListener("change", tell);
    }
    tell();
  }
})();
