// What a report's page does with its charts: draws them, and links its tables with the timeline.
"use strict";

addEventListener("beforeprint", () => {
  document.documentElement.dataset.printed = "";
  for (const each of document.querySelectorAll("details:not([open], .numbers)")) {
    each.open = true;
    each.dataset.opened = "";
  }
});
addEventListener("afterprint", () => {
  delete document.documentElement.dataset.printed;
  for (const each of document.querySelectorAll("details[data-opened]")) {
    each.open = false;
    delete each.dataset.opened;
  }
});

const charts = {};
for (const element of document.querySelectorAll("[data-chart]")) {
  const draw = () => {
    const data = JSON.parse(document.getElementById("chart-" + element.dataset.chart).textContent);
    charts[element.dataset.chart] = drawTimeline(element, data);
  };
  const folded = element.closest("details:not([open])");
  if (folded) folded.addEventListener("toggle", draw, { once: true }); // a chart needs its width
  else draw();
}
for (const row of document.querySelectorAll("tr[data-from]")) {
  const timeline = charts.timeline, head = row.querySelector("th");
  if (!timeline) break;
  const [from, to] = [Number(row.dataset.from), Number(row.dataset.to)];
  const button = document.createElement("button");
  button.type = "button";
  button.className = "row-link";
  button.title = "Show it in the timeline";
  button.append(...head.childNodes);
  head.append(button);
  for (const begin of ["mouseenter", "focusin"]) {
    row.addEventListener(begin, () => timeline.highlight(from, to));
  }
  for (const end of ["mouseleave", "focusout"]) {
    row.addEventListener(end, () => timeline.highlight(null));
  }
  button.addEventListener("click", () => {
    const room = (to - from) * 0.1;
    timeline.zoom(from - room, to + room);
    document.querySelector("#figure-timeline").scrollIntoView({ block: "start" });
  });
}
