/** Style of the report: light and dark, one accent for what matters, two colours for series that differ in lightness too. */
export const reportStyle = `
:root{color-scheme:light dark;--ink:#1d2330;--soft:#667085;--line:#e4e7ec;--card:#fff;--page:#f6f7f9;--s0:#2456c7;--s1:#d9730d;--good:#157a4a;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--soft:#98a2b3;--line:#2d3444;--card:#171c28;--page:#0e121b;--s0:#7aa5ff;--s1:#ffb067;--good:#5bd49a;--bad:#ff8a7d}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}h1{font-size:1.7rem;margin:0 0 20px}h2{font-size:1.15rem;margin:0 0 12px}h3{font-size:.85rem;color:var(--soft);margin:0 0 4px}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px;margin-bottom:20px;overflow-x:auto}
.verdict{border-left:6px solid var(--soft)}.verdict.better{border-left-color:var(--good)}.verdict.worse{border-left-color:var(--bad)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:5px 18px 5px 0;text-align:right}th[scope=row]{text-align:left;font-weight:500}thead th{color:var(--soft);font-weight:500}
.facts td{text-align:left;word-break:break-word}.facts th{color:var(--soft);white-space:nowrap;vertical-align:top}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:20px}figure{margin:0}figcaption{font-weight:600}small,.legend{color:var(--soft);font-weight:400;font-size:.85rem}.legend{margin:2px 0}
svg{width:100%;height:auto}.grid{stroke:var(--line)}.tick{fill:var(--soft);font-size:12px}.line{fill:none;stroke-width:2}.line.s0{stroke:var(--s0)}.line.s1{stroke:var(--s1)}.dot.s0{fill:var(--s0)}.dot.s1{fill:var(--s1)}
.key{display:inline-block;width:12px;height:3px;margin:0 6px 3px 10px}.key.s0{background:var(--s0)}.key.s1{background:var(--s1)}
.sample+.sample{border-top:1px solid var(--line);margin-top:16px;padding-top:16px}.prompt{font-weight:600;white-space:pre-wrap;margin:0 0 8px}.pair{display:grid;grid-template-columns:1fr 1fr;gap:20px}.pair p{white-space:pre-wrap;margin:0}
pre{margin:0;font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap}
@media(max-width:640px){.charts,.pair{grid-template-columns:1fr}}`;
