// What pages do beyond reading. Each page is whole without this file.
"use strict";
(() => {
	const charts = new Map();
	const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

	// draw makes the chart of an element from its data, in place of the plain one.
	function draw(element) {
		const data = JSON.parse(element.dataset.chart);
		const known = charts.get(element);
		const values = [data.t, data.calls, data.bad];
		if (known) {
			known.setData(values);
			return;
		}
		const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, font: "11px system-ui, sans-serif" };
		const bars = uPlot.paths.bars({ size: [0.8, 12] });
		element.replaceChildren();
		charts.set(element, new uPlot({
			width: element.clientWidth || 400, height: 180,
			tzDate: seconds => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
			scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
			axes: [{ ...axis, values: (_, times) => times.map(t => new Date(t * 1000).toISOString().slice(11, 16)) }, { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000] }],
			series: [
				{ label: data.Names[0], value: "{HH}:{mm}" },
				{ label: data.Names[1], fill: color("--live-bar"), stroke: color("--live-bar"), width: 0, paths: bars, points: { show: false } },
				{ label: data.Names[2], fill: color("--bad-bar"), stroke: color("--bad-bar"), width: 0, paths: bars, points: { show: false } },
			],
		}, values, element));
	}

	function drawAll() {
		for (const [element, chart] of charts) {
			if (!element.isConnected) {
				chart.destroy();
				charts.delete(element);
			}
		}
		if (window.uPlot) document.querySelectorAll("[data-chart]").forEach(draw);
	}

	function again() {
		for (const chart of charts.values()) chart.destroy();
		charts.clear();
		drawAll();
	}

	// settled keeps a page as it is when an answer has not what was asked for. Who has been sent
	// elsewhere, to sign in, goes there: what stands here would look alive and be old.
	function settled(event) {
		const { select, text, swap, response } = event.detail.ctx;
		if (response?.raw?.redirected && new URL(response.raw.url).pathname.startsWith("/signin")) {
			event.preventDefault();
			location.assign(response.raw.url);
		} else if (select && swap !== "none" && !new DOMParser().parseFromString(text, "text/html").querySelector(select)) {
			event.preventDefault();
		}
	}

	document.addEventListener("htmx:before:swap", settled);
	document.addEventListener("DOMContentLoaded", drawAll);
	document.addEventListener("htmx:after:swap", drawAll);
	window.addEventListener("resize", () => charts.forEach((chart, element) => chart.setSize({ width: element.clientWidth, height: 180 })));
	matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
})();
