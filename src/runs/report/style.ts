/** Style of the report: light and dark, one accent for what matters, two colours for series that differ in lightness too. */
export const reportStyle = `
:root{color-scheme:light dark;--ink:#1d2330;--soft:#5b667a;--line:#e1e5eb;--card:#fff;--page:#f5f6f8;--s0:#2456c7;--s1:#c2590a;--good:#157a4a;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--soft:#a3adbd;--line:#2d3444;--card:#171c28;--page:#0e121b;--s0:#7aa5ff;--s1:#ffb067;--good:#5bd49a;--bad:#ff8a7d}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}h1{font-size:1.7rem;line-height:1.25;margin:0 0 20px;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:0 0 12px}h3{font-size:.85rem;color:var(--soft);margin:0 0 4px}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px;margin-bottom:20px}p{margin:0 0 12px}
ul{margin:0;padding-left:20px}.wide{overflow-x:auto}.together{display:inline-block;white-space:nowrap}.matrix{margin-bottom:16px}.texts td:first-child{min-width:11rem}
.verdict{border-left:6px solid var(--soft)}.verdict.better{border-left-color:var(--good)}.verdict.worse{border-left-color:var(--bad)}.verdict.better h2{color:var(--good)}.verdict.worse h2{color:var(--bad)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:5px 0 5px 28px;text-align:right;font-weight:400}th:first-child,td:first-child{padding-left:0;text-align:left}tbody tr{border-top:1px solid var(--line)}thead th{color:var(--soft)}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(320px,100%),1fr));gap:0 20px}
.facts{width:100%}.facts tr:first-child{border-top:0}.facts td{overflow-wrap:anywhere;white-space:pre-line;padding-left:0}.facts th{color:var(--soft);white-space:nowrap;vertical-align:top;padding-right:12px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:24px 28px}figure{margin:0;position:relative;display:flex;flex-direction:column}figcaption{font-weight:600}small,.legend{color:var(--soft);font-weight:400;font-size:.85rem}.legend{margin:2px 0}.entry{display:inline-block;margin-right:14px}
svg{display:block;width:100%;height:auto;margin-top:auto}.grid{stroke:var(--line)}.axis,.rule{stroke:var(--soft)}.rule{stroke-dasharray:3 3}.tick{fill:var(--soft);font-size:12px}.line{fill:none;stroke-width:2;stroke-linejoin:round}.line.faint{stroke-width:1;opacity:.35}.line.s0{stroke:var(--s0)}.line.s1{stroke:var(--s1)}.dot.s0{fill:var(--s0)}.dot.s1{fill:var(--s1)}
.tip{position:absolute;pointer-events:none;white-space:pre;font-size:.8rem;background:var(--card);border:1px solid var(--soft);border-radius:6px;padding:4px 8px}
.key{display:inline-block;width:14px;height:3px;margin:0 6px 4px 0}.key.s0{background:var(--s0)}.key.s1{background:var(--s1)}
details{margin-top:16px}summary{cursor:pointer;color:var(--soft)}details table{margin-top:8px;font-size:.85rem}
.sample+.sample{border-top:1px solid var(--line);margin-top:16px;padding-top:16px}.prompt{font-weight:600;white-space:pre-wrap;margin:0 0 8px}.pair{display:grid;grid-template-columns:1fr 1fr;gap:20px}.pair p{white-space:pre-wrap;margin:0;overflow-wrap:anywhere}
pre{margin:0;font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;columns:24rem}
@media(max-width:640px){.pair{grid-template-columns:1fr}section{padding:16px}th,td{padding-left:10px}.wide{font-size:.8rem}}@media print{section{break-inside:avoid}}`;
