// Draws the charts of a page with uPlot. The shape of `data`: analysis/report/charts/chart.py.
//
// drawTimeline(element, data) fills the element and returns
//   update(data)         the same chart with more data; a zoom stays, the whole view follows
//   zoom(from, to), reset(), highlight(from, to), highlight(null), destroy()
"use strict";

const drawTimeline = (() => {
  const AXIS_PX = 62;
  const [EVENT_ROWS, EVENT_ROW_PX] = [3, 13]; // names of events, in the panel of webservers
  const HEIGHTS_PX = { latency: 260, load: 150, cpu: 150 };
  const [ROW_PX, ROW_TEXT] = [46, 0.46]; // of a panel with rows; its words stand above the point
  const SHOWN_AT_ONCE = 5000; // single calls; more of them only when they are asked for
  const NEAR_PX = 16;
  const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200,
    86400, 172800, 604800, 1209600, 2592000];

  const WHOLE_STEPS = [1, 2, 5].flatMap((first) => [0, 1, 2, 3, 4, 5].map((zeros) => first * 10 ** zeros))
    .sort((a, b) => a - b);

  const palette = new Map(); // asking for a style in the middle of drawing costs a layout
  const colour = (name) => {
    if (!palette.has(name)) {
      const style = getComputedStyle(document.documentElement);
      palette.set(name, style.getPropertyValue("--" + name).trim() || "#000");
    }
    return palette.get(name);
  };
  const trimmed = (value) => String(Number(value.toPrecision(3)));
  const readable = (value, unit) => {
    if (value == null) return "–";
    if (unit === "s") {
      return Math.abs(value) < 0.9995 ? trimmed(value * 1000) + " ms" : trimmed(value) + " s";
    }
    return trimmed(value) + (unit === "%" ? " %" : unit ? " " + unit : "");
  };
  const clock = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    const tail = String(whole % 60).padStart(2, "0");
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
  };
  const fitting = (context, text, room) => {
    let short = text;
    while (short.length > 4 && context.measureText(short).width > room) short = short.slice(0, -2) + "…";
    return short;
  };
  const decades = (plot, splits) =>
    splits.map((y) => (Math.abs(Math.log10(y) - Math.round(Math.log10(y))) < 1e-9 ? y : null));
  const holds = (series) => series.style === "step" || series.style === "area";
  const make = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  };

  // One x for all series of a panel; where a series has no value there, it is undefined.
  function aligned(panel, x) {
    const tables = [[[x.from, x.to]]];
    for (const series of panel.series) {
      const xs = [];
      series.x.forEach((at, place) => {
        const before = place ? xs[place - 1] : -Infinity; // x must rise: equal ones move a little
        xs.push(at > before ? at : before + (x.to - x.from) * 1e-7);
      });
      tables.push([xs, series.values, ...(series.low ? [series.low, series.high] : [])]);
    }
    const joined = uPlot.join(tables, tables.map((table) => table.map(() => 2)));
    const columns = [joined[0]], intervals = [];
    let next = 1;
    panel.series.forEach((series) => {
      columns.push(joined[next]);
      intervals.push(series.low ? [joined[next + 1], joined[next + 2]] : null);
      next += series.low ? 3 : 1;
    });
    const texts = panel.series.map((series, place) => {
      if (!series.texts) return null;
      const at = new Map();
      tables[place + 1][0].forEach((key, index) => at.set(key, series.texts[index]));
      return at;
    });
    if (panel.calls) columns.push(joined[0].map(() => undefined));
    return { columns, intervals, texts };
  }

  // The single calls, unpacked when they are first needed.
  function unpack(calls) {
    const bytes = Uint8Array.from(atob(calls.words), (c) => c.charCodeAt(0));
    const pairs = new DataView(bytes.buffer), count = bytes.length / 4;
    const x = new Float64Array(count), y = new Float64Array(count), failed = new Uint8Array(count);
    const span = Math.log(calls.high_s / calls.low_s) / 32767;
    for (let i = 0, ticks = 0; i < count; i++) {
      ticks += pairs.getUint16(4 * i, true);
      const code = pairs.getUint16(4 * i + 2, true);
      x[i] = ticks * calls.unit_s;
      y[i] = calls.low_s * Math.exp((code & 32767) * span);
      failed[i] = code >> 15;
    }
    return { x, y, failed };
  }
  const firstAtLeast = (sorted, value) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle + 1; else high = middle;
    }
    return low;
  };

  return function drawTimeline(element, first) {
    let data = first, view = [data.x.from, data.x.to], lit = null, applying = false, stamp = 0;
    let plots = [], points = new Map(), asked = new Map();
    const group = "headroom-" + drawTimeline.count++;
    const isTime = data.x.unit === "time";
    const isCount = data.x.unit === "count";
    const isDate = data.x.unit === "utc";
    const date = (seconds) => new Date(1000 * (data.start_s + seconds)).toISOString().slice(5, 16).replace("T", " ");
    const spoken = (value) => (isTime ? clock(value) : isDate ? date(value) : trimmed(value));

    element.classList.add("chart");
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", `${data.title}: arrow keys read values, plus and minus zoom, `
      + "0 shows all. The tables below hold the same numbers.");
    const bar = make("div", "chart-bar"), at = make("output", "chart-at");
    const said = make("p", "chart-said");
    said.setAttribute("aria-live", "polite");
    for (const [label, act] of [
      ["Zoom in", () => zoomBy(0.5)], ["Zoom out", () => zoomBy(2)], ["Show all", reset],
    ]) {
      const button = make("button", "", label);
      button.type = "button";
      button.addEventListener("click", act);
      bar.append(button);
    }
    bar.append(at);
    element.replaceChildren(bar);
    const body = make("div", "chart-panels");
    element.append(body, said);

    const isWhole = () => view[0] === data.x.from && view[1] === data.x.to;

    function show(from, to) {
      const least = (data.x.to - data.x.from) / 1e5;
      from = Math.max(data.x.from, from);
      to = Math.min(data.x.to, to);
      if (!(to - from >= least)) return;
      view = [from, to];
      applying = true;
      for (const { plot } of plots) plot.setScale("x", { min: from, max: to });
      applying = false;
      element.dataset.from = from;
      element.dataset.to = to;
    }
    function reset() { show(data.x.from, data.x.to); }
    function zoomBy(factor) {
      const left = plots.length ? plots[0].plot.cursor.left : -1;
      const middle = left >= 0 ? plots[0].plot.posToVal(left, "x") : (view[0] + view[1]) / 2;
      const half = ((view[1] - view[0]) * factor) / 2;
      let [from, to] = [middle - half, middle + half];
      if (from < data.x.from) to += data.x.from - from;
      if (to > data.x.to) from -= to - data.x.to;
      show(from, to);
    }
    function highlight(from, to) {
      lit = from == null ? null : [from, to];
      for (const { plot } of plots) plot.redraw(false);
    }

    function callsInSight(plot, panel) {
      if (!points.has(panel.id)) points.set(panel.id, unpack(panel.calls));
      const all = points.get(panel.id);
      return [all, firstAtLeast(all.x, plot.scales.x.min), firstAtLeast(all.x, plot.scales.x.max)];
    }
    function drawCalls(plot, panel) {
      const wanted = asked.get(panel.id); // undefined: nobody said
      if (wanted === false) return 0;
      if (!wanted && isWhole() && panel.calls.shown > SHOWN_AT_ONCE) return 0;
      const [all, from, to] = callsInSight(plot, panel);
      if (!wanted && to - from > SHOWN_AT_ONCE) return 0;
      const context = plot.ctx, ratio = uPlot.pxRatio, { left, top, width, height } = plot.bbox;
      const size = Math.max(2, Math.round(2.5 * ratio));
      const columns = Math.ceil(width / ratio) + 1, rows = Math.ceil(height / ratio) + 1;
      const taken = new Uint8Array(columns * rows); // no point is drawn twice in one pixel
      const log = panel.scale === "log", [min, max] = [plot.scales.y.min, plot.scales.y.max];
      const [low, high] = log ? [Math.log(min), Math.log(max)] : [min, max];
      const perX = width / (plot.scales.x.max - plot.scales.x.min), perY = height / (high - low);
      let drawn = 0;
      const pass = (failed, fill, alpha) => {
        context.fillStyle = fill;
        context.globalAlpha = alpha;
        for (let i = from; i < to; i++) {
          if (all.failed[i] !== failed) continue;
          const x = (all.x[i] - plot.scales.x.min) * perX;
          const y = height - ((log ? Math.log(all.y[i]) : all.y[i]) - low) * perY;
          const cell = Math.round(y / ratio) * columns + Math.round(x / ratio);
          if (y < 0 || y > height || taken[cell] & (1 << failed)) continue;
          taken[cell] |= 1 << failed;
          context.fillRect(left + x - size / 2, top + y - size / 2, size, size);
          drawn++;
        }
      };
      context.save();
      pass(0, colour("faint"), to - from > 20000 ? 0.35 : 0.55);
      pass(1, colour("vermillion"), to - from > 20000 ? 0.6 : 0.9);
      context.restore();
      return drawn;
    }
    // The call nearest to the cursor, in pixels.
    function callAtCursor(plot, panel) {
      const { left, top } = plot.cursor;
      if (!(left >= 0) || !panel.calls || !plot.drawnCalls) return null;
      const [all] = callsInSight(plot, panel);
      const from = firstAtLeast(all.x, plot.posToVal(left - NEAR_PX, "x"));
      const to = firstAtLeast(all.x, plot.posToVal(left + NEAR_PX, "x"));
      let best = null, least = Infinity;
      for (let i = from; i < to; i++) {
        const across = Math.abs(plot.valToPos(all.x[i], "x") - left);
        const up = top >= 0 ? Math.abs(plot.valToPos(all.y[i], "y") - top) : 0;
        if (across + up < least) [best, least] = [i, across + up];
      }
      return best == null ? null : { x: all.x[best], y: all.y[best], failed: all.failed[best] };
    }

    function drawBelow(plot) { // bands of stages, and what is highlighted
      const context = plot.ctx, { left, top, width, height } = plot.bbox;
      const pixel = (x) => Math.min(Math.max(plot.valToPos(x, "x", true), left), left + width);
      const fill = (from, to, name, alpha) => {
        const [a, b] = [pixel(from), pixel(to)];
        context.globalAlpha = alpha;
        context.fillStyle = colour(name);
        if (b > a) context.fillRect(a, top, b - a, height);
      };
      const tone = { pass: "green", fail: "vermillion", undecided: "orange", capacity: "green",
        overload: "vermillion" };
      context.save();
      for (const stage of data.stages) {
        fill(stage.from, stage.judged_from, "grid", 0.6);
        fill(stage.judged_from, stage.to, tone[stage.verdict] || "grid", 0.07);
      }
      if (lit) fill(lit[0], lit[1], "blue", 0.18);
      context.restore();
    }
    function drawAbove(plot, panel, isFirst) { // lines, events, names of stages
      const context = plot.ctx, ratio = uPlot.pxRatio, { left, top, width, height } = plot.bbox;
      context.save();
      context.beginPath();
      context.rect(left, top - 20 * ratio, width, height + 20 * ratio);
      context.clip();
      context.lineWidth = ratio;
      context.font = `${11 * ratio}px system-ui, sans-serif`;
      context.textBaseline = "bottom";
      context.strokeStyle = context.fillStyle = colour("ink");
      for (const line of panel.lines) {
        const y = plot.valToPos(line.value, "y", true);
        if (!(y > top && y < top + height)) continue;
        context.setLineDash([5 * ratio, 4 * ratio]);
        context.beginPath();
        context.moveTo(left, y);
        context.lineTo(left + width, y);
        context.stroke();
        context.textAlign = "right";
        const long = context.measureText(line.label).width + 4 * ratio;
        context.fillStyle = colour("paper");
        context.globalAlpha = 0.8; // points and lines may lie below the words
        context.fillRect(left + width - long - ratio, y - 15 * ratio, long, 13 * ratio);
        context.globalAlpha = 1;
        context.fillStyle = colour("ink");
        context.fillText(line.label, left + width - 3 * ratio, y - 2 * ratio);
      }
      for (const event of data.events) {
        const x = plot.valToPos(event.at, "x", true);
        if (!(x >= left && x <= left + width)) continue;
        context.strokeStyle = colour(event.colour);
        context.setLineDash([3 * ratio, 3 * ratio]);
        context.beginPath();
        context.moveTo(x, top);
        context.lineTo(x, top + height);
        context.stroke();
      }
      panel.rows.forEach(([name, said], row) => {
        const y = plot.valToPos(row - ROW_TEXT, "y", true);
        context.textBaseline = "top";
        const room = width - 12 * ratio - context.measureText(said).width;
        const short = fitting(context, name, room);
        for (const [text, side, x] of [[short, "left", left + 3 * ratio], [said, "right", left + width - 3 * ratio]]) {
          const long = context.measureText(text).width;
          context.textAlign = side;
          context.globalAlpha = 0.8;
          context.fillStyle = colour("paper");
          context.fillRect(side === "left" ? x : x - long, y, long, 13 * ratio);
          context.globalAlpha = 1;
          context.fillStyle = colour("ink");
          context.fillText(text, x, y);
        }
        context.textBaseline = "bottom";
      });
      const names = panel.id === "webservers" || (data.panels.length === 1 && data.events.length);
      if (names && !panel.rows.length) {
        const free = Array(EVENT_ROWS).fill(-Infinity);
        context.textAlign = "left";
        for (const event of [...data.events].sort((a, b) => a.at - b.at)) {
          const x = plot.valToPos(event.at, "x", true) + 3 * ratio;
          const end = x + context.measureText(event.text).width;
          const row = free.findIndex((taken) => taken < x);
          if (row < 0 || x < left || end > left + width) continue;
          free[row] = end + 6 * ratio;
          context.fillStyle = colour(event.colour);
          context.fillText(event.text, x, top + (row + 1) * EVENT_ROW_PX * ratio);
        }
      }
      if (isFirst) {
        context.textAlign = "center";
        let free = -Infinity;
        for (const stage of data.stages) {
          const a = Math.max(plot.valToPos(stage.from, "x", true), left);
          const b = Math.min(plot.valToPos(stage.to, "x", true), left + width);
          const mark = { pass: " ✓", fail: " ✗" }[stage.verdict] || "";
          const texts = [stage.name + mark, stage.name.split(",")[0] + mark,
            stage.name.split(/[ ,]/)[0] + mark];
          const longest = texts.find((text) => context.measureText(text).width < b - a);
          if (!longest || a < free) continue;
          context.fillStyle = colour(stage.verdict === "fail" ? "vermillion" : "ink");
          context.fillText(longest, (a + b) / 2, top - 3 * ratio);
          free = b;
        }
      }
      context.restore();
    }
    function drawIntervals(plot, panel, intervals) {
      const context = plot.ctx, ratio = uPlot.pxRatio;
      context.save();
      const { left, top, width, height } = plot.bbox;
      context.beginPath();
      context.rect(left, top, width, height);
      context.clip();
      intervals.forEach((ends, place) => {
        if (!ends || !plot.series[place + 1].show) return;
        context.strokeStyle = colour(panel.series[place].colour);
        context.lineWidth = 2 * ratio;
        plot.data[0].forEach((x, i) => {
          if (ends[0][i] == null || ends[1][i] == null) return;
          context.beginPath();
          if (panel.series[place].style === "span") {
            const down = plot.valToPos(plot.data[place + 1][i], "y", true);
            context.moveTo(plot.valToPos(ends[0][i], "x", true), down);
            context.lineTo(plot.valToPos(ends[1][i], "x", true), down);
          } else {
            const across = plot.valToPos(x, "x", true);
            context.moveTo(across, plot.valToPos(ends[0][i], "y", true));
            context.lineTo(across, plot.valToPos(ends[1][i], "y", true));
          }
          context.stroke();
        });
      });
      context.restore();
    }

    function seriesOf(panel, series, state) {
      const step = holds(series);
      const dots = ["points", "interval", "span"].includes(series.style);
      return {
        label: series.label,
        stroke: () => colour(series.colour),
        width: dots ? 0 : series.label === "offered" ? 4 : 1.6, // behind what was achieved
        fill: series.style === "area" ? () => colour(series.colour) + "44" : undefined,
        paths: dots ? () => null : step ? uPlot.paths.stepped({ align: 1 }) : undefined,
        points: {
          show: dots || (series.style === "line" && series.x.length < 200),
          size: dots ? (panel.rows.length && series.style === "points" ? 5 : 9) : 4,
          fill: () => colour(series.colour),
          stroke: () => colour(series.colour),
        },
        value: (plot, value, place, index) => {
          if (value == null) return "–";
          const texts = state.texts[place - 1], ends = state.intervals[place - 1];
          if (panel.rows.length) {
            return series.style === "span" ? panel.rows[value][1] : texts.get(plot.data[0][index]);
          }
          let text = readable(value, panel.unit);
          if (ends && ends[0][index] != null && ends[1][index] != null) {
            text += ` (${readable(ends[0][index], panel.unit)} to ${readable(ends[1][index], panel.unit)})`;
          }
          return texts && texts.get(plot.data[0][index])
            ? `${text}, ${texts.get(plot.data[0][index])}` : text;
        },
      };
    }
    const rowAtCursor = (plot, panel) =>
      Math.min(Math.max(Math.round(plot.posToVal(plot.cursor.top, "y")), 0), panel.rows.length - 1);
    // A step holds from its x on; of other series the nearest value counts.
    function placeOfValue(plot, panel, place, index, x) {
      const series = panel.series[place - 1];
      if (!series) return index;
      const values = plot.data[place], xs = plot.data[0];
      if (panel.rows.length) { // of the row under the cursor, the nearest
        const row = rowAtCursor(plot, panel);
        let best = null;
        for (let i = 0; i < xs.length; i++) {
          if (values[i] == null || Math.round(values[i]) !== row) continue;
          if (best == null || Math.abs(xs[i] - x) < Math.abs(xs[best] - x)) best = i;
        }
        return best;
      }
      let before = index;
      while (before >= 0 && (values[before] === undefined || xs[before] > x)) before--;
      if (holds(series)) {
        return before >= 0 && values[before] != null ? before : null;
      }
      let after = Math.max(before + 1, 0);
      while (after < xs.length && values[after] == null) after++;
      while (before >= 0 && values[before] == null) before--;
      if (before < 0) return after < xs.length ? after : null;
      if (after >= xs.length) return before;
      return x - xs[before] <= xs[after] - x ? before : after;
    }

    function addPanel(panel, place, last) {
      const state = aligned(panel, data.x);
      const entry = { panel, state };
      const holder = make("div", "chart-panel");
      holder.dataset.panel = panel.id;
      const head = make("div", "chart-head");
      head.append(make("strong", "", panel.title));
      holder.append(head);
      body.append(holder);
      const axis = { stroke: () => colour("faint"), font: "11px system-ui, sans-serif" };
      const grid = { stroke: () => colour("grid"), width: 1 };
      const y = { auto: true };
      if (panel.scale === "log") Object.assign(y, { distr: 3 });
      if (panel.rows.length) Object.assign(y, { dir: -1 }); // from the top down
      y.range = (plot, min, max) => {
        if (entry.panel.range) return entry.panel.range;
        const ends = entry.state.intervals.flatMap((each) => (each ? each[1] : []));
        const top = Math.max(max ?? 0, ...entry.panel.lines.map((line) => line.value),
          ...ends.filter((end) => end != null));
        const room = panel.id === "webservers" ? 1 + (EVENT_ROWS * EVENT_ROW_PX) / 80 : 1.1;
        return [0, top > 0 ? top * room : 1];
      };
      const options = {
        width: Math.max(element.clientWidth, 200),
        height: (panel.rows.length * ROW_PX
          || HEIGHTS_PX[panel.id] || (data.panels.length > 1 ? 120 : 320)) + (last ? 32 : 0)
          + (panel.id === "webservers" ? EVENT_ROWS * EVENT_ROW_PX : 0),
        padding: [place ? 6 : 20, isDate ? 36 : isTime ? 20 : 12, 0, 0], // half of the last label
        scales: { x: { time: false, range: (plot, min, max) => [min, max] }, y },
        axes: [
          { ...axis, grid: panel.rows.length ? grid : { show: false }, size: last ? 22 : 8, gap: 3,
            ticks: { stroke: grid.stroke, width: 1, size: 5 },
            label: last ? data.x.label : undefined, labelSize: 18, labelGap: 0, labelFont: axis.font,
            ...(isTime || isDate ? { incrs: TIME_STEPS } : isCount ? { incrs: WHOLE_STEPS } : {}),
            space: isDate ? 90 : 50,
            values: (plot, splits) => splits.map((x) => (last ? spoken(x) : "")) },
          { ...axis, size: panel.rows.length ? 8 : AXIS_PX, ticks: { show: false },
            ...(panel.unit || panel.scale === "log" ? {} : { incrs: WHOLE_STEPS }),
            grid: panel.rows.length ? { show: false }
              : panel.scale === "log" ? { ...grid, filter: decades } : grid,
            values: (plot, splits) => splits.map((value) =>
              value == null || panel.rows.length ? "" : readable(value, panel.unit === "s" ? "s" : panel.unit === "%" ? "%" : "")) },
        ],
        series: [{ label: data.x.label, value: (plot, value) => (value == null ? "–" : spoken(value)) },
          ...panel.series.map((series) => seriesOf(panel, series, state)),
          ...(panel.calls ? [{
            label: panel.calls.label, stroke: () => colour("faint"), paths: () => null,
            points: { show: false },
            value: (plot) => {
              const call = callAtCursor(plot, entry.panel);
              return call ? `${readable(call.y, "s")}${call.failed ? ", failed" : ""}` : "–";
            },
          }] : [])],
        cursor: {
          sync: { key: group, setSeries: false,
            filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
          drag: { x: true, y: false, setScale: false },
          dataIdx: (plot, series, index, x) => placeOfValue(plot, entry.panel, series, index, x),
          y: false,
          bind: { dblclick: () => () => { reset(); return null; } },
        },
        legend: {
          mount: (plot, legend) => head.append(legend),
          markers: { width: 0, fill: (plot, index) =>
            `var(--${index <= panel.series.length ? panel.series[index - 1].colour : "faint"})` },
        },
        hooks: {
          drawClear: [drawBelow],
          drawAxes: [(plot) => {
            plot.drawnCalls = entry.panel.calls ? drawCalls(plot, entry.panel) : 0;
            holder.dataset.calls = plot.drawnCalls;
          }],
          draw: [(plot) => {
            drawIntervals(plot, entry.panel, entry.state.intervals);
            drawAbove(plot, entry.panel, place === 0);
            element.dataset.drawn = ++stamp;
          }],
          setSelect: [(plot) => {
            const { left, width } = plot.select;
            if (width < 4) return;
            show(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          }],
          setCursor: [(plot) => { if (place === 0) tellTime(plot); }],
          setSeries: [(plot, index) => {
            if (index == null) return;
            if (panel.calls && index === plot.series.length - 1) {
              asked.set(panel.id, plot.series[index].show);
            }
            markToggles(plot);
          }],
        },
      };
      entry.plot = new uPlot(options, state.columns, holder);
      entry.holder = holder;
      zoomByTouch(entry.plot);
      prepareLegend(entry);
      plots.push(entry);
    }
    // One finger drags as the mouse does; two keep what is below them below them. Upright moves are
    // left to the page (touch-action in charts.css).
    function zoomByTouch(plot) {
      const { over } = plot, fingers = new Map();
      let begun = null, held = null;
      const across = (event) => {
        const box = over.getBoundingClientRect();
        return Math.min(Math.max(event.clientX - box.left, 0), box.width);
      };
      const select = (left, width, zoom) =>
        plot.setSelect({ left, width, top: 0, height: over.clientHeight }, zoom);
      over.addEventListener("pointerdown", (event) => {
        if (event.pointerType !== "touch") return;
        over.setPointerCapture(event.pointerId);
        fingers.set(event.pointerId, across(event));
        begun = fingers.size === 1 ? across(event) : null;
        held = [...fingers.values()].map((left) => plot.posToVal(left, "x"));
        select(0, 0, false);
      });
      over.addEventListener("pointermove", (event) => {
        if (!fingers.has(event.pointerId)) return;
        const left = across(event);
        fingers.set(event.pointerId, left);
        if (fingers.size === 2) {
          const [a, b] = fingers.values(), perPx = (held[1] - held[0]) / (b - a);
          const from = held[0] - a * perPx;
          if (perPx > 0 && Number.isFinite(perPx)) show(from, from + over.clientWidth * perPx);
        } else if (begun != null) {
          plot.setCursor({ left, top: event.clientY - over.getBoundingClientRect().top }, true, true);
          select(Math.min(begun, left), Math.abs(left - begun), false);
        }
      });
      for (const end of ["pointerup", "pointercancel"]) {
        over.addEventListener(end, (event) => {
          if (!fingers.delete(event.pointerId)) return;
          const { left, width } = plot.select;
          if (begun != null && end === "pointerup") select(left, width, true);
          else select(0, 0, false);
          begun = null;
        });
      }
    }
    function prepareLegend({ plot, panel, holder }) {
      holder.querySelectorAll(".u-legend .u-series").forEach((row, index) => {
        if (!index) { row.remove(); return; } // the x value is told once, above all panels
        const label = row.querySelector("th");
        label.tabIndex = 0;
        label.setAttribute("role", "switch");
        label.addEventListener("keydown", (event) => {
          if (event.key !== " " && event.key !== "Enter") return;
          event.preventDefault();
          event.stopPropagation();
          plot.setSeries(index, { show: !plot.series[index].show });
        });
      });
      if (panel.calls && panel.calls.shown > SHOWN_AT_ONCE) { // off until zoomed in or asked for
        const row = [...holder.querySelectorAll(".u-legend .u-series")].at(-1);
        row.querySelector("th").addEventListener("click", (event) => {
          if (asked.has(panel.id)) return;
          event.stopImmediatePropagation();
          asked.set(panel.id, true);
          markToggles(plot);
          plot.redraw(false);
        }, { capture: true });
      }
      if (panel.calls && panel.calls.note) holder.append(make("p", "hint", panel.calls.note));
      markToggles(plot);
    }
    function markToggles(plot) {
      plot.root.parentElement.querySelectorAll(".u-legend .u-series").forEach((row, index) => {
        row.querySelector("th").setAttribute("aria-checked", String(plot.series[index + 1].show));
      });
    }
    function tellTime(plot) {
      const { left } = plot.cursor;
      if (!(left >= 0)) { at.textContent = ""; return; }
      const { rows } = plots[0].panel;
      if (rows.length) { at.textContent = rows[rowAtCursor(plot, plots[0].panel)][0]; return; }
      const x = plot.posToVal(left, "x");
      const stage = data.stages.find((each) => x >= each.from && x <= each.to);
      const marked = ["pass", "fail", "undecided"].includes(stage?.verdict);
      const near = data.events.filter(
        (event) => Math.abs(plot.valToPos(event.at, "x") - left) <= NEAR_PX / 2);
      at.textContent = [
        isTime || isDate ? spoken(x) : `${data.x.label}: ${spoken(x)}`,
        stage ? `${marked ? "stage " : ""}${stage.name}${x < stage.judged_from ? " (warm-up)" : ""}` : "",
        ...near.map((event) => event.text),
      ].filter(Boolean).join(" · ");
    }
    function say() {
      const values = plots.map(({ holder, panel }) => panel.title + ": "
        + [...holder.querySelectorAll(".u-series")].map((row) => row.textContent).join(", "));
      said.textContent = [at.textContent, ...values].join(". ");
    }
    element.addEventListener("keydown", (event) => {
      if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey) return;
      const { plot } = plots[0];
      const width = plot.bbox.width / uPlot.pxRatio;
      const left = plot.cursor.left >= 0 ? plot.cursor.left : 0;
      const top = Math.max(plot.cursor.top, 1), rows = plots[0].panel.rows.length;
      const height = plot.bbox.height / uPlot.pxRatio;
      const move = (to, down) => plot.setCursor({ left: Math.min(Math.max(to, 0), width),
        top: Math.min(Math.max(down, 1), height - 1) }, true, true);
      const act = {
        ArrowLeft: () => move(left - width / 60, top),
        ArrowRight: () => move(left + width / 60, top),
        ...(rows ? { ArrowUp: () => move(left, top - ROW_PX), ArrowDown: () => move(left, top + ROW_PX) } : {}),
        "+": () => zoomBy(0.5), "=": () => zoomBy(0.5), "-": () => zoomBy(2),
        0: reset, Escape: reset,
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
      setTimeout(say, 0);
    });

    function build() {
      for (const { plot } of plots) plot.destroy();
      plots = [];
      body.replaceChildren();
      data.panels.forEach((panel, place) => addPanel(panel, place, place === data.panels.length - 1));
      show(...view);
    }
    const shape = () => JSON.stringify(
      data.panels.map((panel) => [panel.id, panel.scale, !!panel.calls, panel.rows.length, panel.series.map((s) => s.label)]));
    function update(next) {
      const before = shape(), whole = isWhole();
      data = next;
      points.clear();
      if (whole) view = [data.x.from, data.x.to];
      if (shape() !== before) { build(); return; }
      plots.forEach((entry, place) => {
        entry.panel = data.panels[place];
        const state = aligned(entry.panel, data.x);
        Object.assign(entry.state, state);
        entry.holder.querySelector("strong").textContent = entry.panel.title;
        entry.plot.setData(state.columns, false);
      });
      show(...view);
    }
    function redraw() {
      palette.clear();
      for (const { plot } of plots) plot.redraw(false, true);
    }
    function resize(width) {
      for (const { plot } of plots) plot.setSize({ width, height: plot.height });
    }

    build();
    const watcher = new ResizeObserver(() => {
      const width = Math.max(element.clientWidth, 200);
      if (plots.length && plots[0].plot.width !== width) resize(width);
    });
    watcher.observe(element);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", redraw);
    const print = () => { resize(680); redraw(); };
    const printed = () => { resize(Math.max(element.clientWidth, 200)); redraw(); };
    addEventListener("beforeprint", print);
    addEventListener("afterprint", printed);
    function destroy() {
      watcher.disconnect();
      dark.removeEventListener("change", redraw);
      removeEventListener("beforeprint", print);
      removeEventListener("afterprint", printed);
      for (const { plot } of plots) plot.destroy();
      element.replaceChildren();
    }
    return { update, zoom: show, reset, highlight, destroy };
  };
})();
drawTimeline.count = 0;
