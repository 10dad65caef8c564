/** Runs in the report: shows the values next to the pointer. Without scripts the charts and the table of values still say everything. */
export const hoverScript = `
for (const figure of document.querySelectorAll("figure[data-series]")) {
  const series = JSON.parse(figure.dataset.series);
  const svg = figure.querySelector("svg");
  const rule = svg.querySelector(".rule");
  const tip = figure.querySelector(".tip");
  const hide = () => { tip.hidden = true; rule.setAttribute("visibility", "hidden"); };
  const format = (y) => y !== 0 && (Math.abs(y) < 1e-3 || Math.abs(y) >= 1e6) ? y.toExponential(2).replace("e+", "e") : String(Number(y.toPrecision(4)));
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const nearest = series.filter((one) => one.points.length > 0).map((one) => {
      const point = one.points.reduce((best, candidate) => Math.abs(candidate[2] - at) < Math.abs(best[2] - at) ? candidate : best);
      return { label: one.label, point };
    });
    if (nearest.length === 0) return hide();
    const x = nearest[0].point[2];
    rule.setAttribute("x1", x);
    rule.setAttribute("x2", x);
    rule.setAttribute("visibility", "visible");
    tip.textContent = nearest.map(({ label, point }) => label + " at step " + point[0] + ": " + format(point[1])).join("\\n");
    tip.hidden = false;
    const left = (x / svg.viewBox.baseVal.width) * box.width;
    tip.style.left = Math.max(0, Math.min(left + 12, figure.clientWidth - tip.offsetWidth)) + "px";
    tip.style.top = box.top - figure.getBoundingClientRect().top + 8 + "px";
  });
}`;
