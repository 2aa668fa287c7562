"""The style sheet of a report: light and dark, from a phone's width up; nothing from outside."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark;
  --page:#f6f7f9; --card:#fff; --ink:#1b2027; --soft:#5a6572; --rule:#dfe3e8;
  --bar:#0b66c326;
  --c0:#0b66c3; --c1:#d9760a; --c2:#2a9154; --c3:#b0419c; --c4:#8a6d1f; --c5:#2aa3b5; --c6:#c0392b;
  --c7:#6a7480; }
@media (prefers-color-scheme: dark) { :root {
  --page:#101418; --card:#181d23; --ink:#e6eaee; --soft:#9aa6b2; --rule:#2c343d;
  --bar:#5aa9f533;
  --c0:#5aa9f5; --c1:#f2a24a; --c2:#5fca8d; --c3:#dd86cc; --c4:#cbb05c; --c5:#5fd0de; --c6:#f0766a;
  --c7:#9aa6b2; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink); line-height:1.5;
  font:16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width:1080px; margin:0 auto; padding:16px; }
h1 { font-size:1.5rem; line-height:1.25; margin:.6rem 0 .2rem; }
h2 { font-size:1.15rem; margin:0 0 .5rem; }
h3 { font-size:1rem; margin:1.2rem 0 .4rem; overflow-wrap:anywhere; }
h4 { font-size:.85rem; margin:.8rem 0 .3rem; color:var(--soft); font-weight:600; }
p { margin:.4rem 0; max-width:46rem; }
.soft { color:var(--soft); }
section { background:var(--card); border:1px solid var(--rule); border-radius:10px;
  padding:16px; margin:14px 0; }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(128px,1fr)); gap:10px; }
.tile { border:1px solid var(--rule); border-radius:8px; padding:10px 12px; }
.tile b { display:block; font-size:1.7rem; line-height:1.2; font-variant-numeric:tabular-nums; }
.tile span { font-size:.85rem; color:var(--soft); }
.note { border-left:3px solid var(--c1); padding-left:10px; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:.9rem; font-variant-numeric:tabular-nums; }
th, td { text-align:right; padding:4px 8px; border-bottom:1px solid var(--rule);
  white-space:nowrap; }
th:first-child, td:first-child { text-align:left; padding-left:0; }
th { color:var(--soft); font-weight:600; vertical-align:bottom; }
th, td:first-child { white-space:normal; } td.name { white-space:nowrap; }
@media (max-width:600px) { table { font-size:.82rem; } th, td { padding:4px 5px; } }
td.share { background:linear-gradient(to right, var(--bar) var(--share), transparent 0); }
td.words { white-space:normal; overflow-wrap:anywhere; text-align:left; }
code, pre { font:.85rem/1.45 ui-monospace, Menlo, Consolas, monospace; }
pre { background:var(--page); border-radius:6px; padding:10px; overflow-x:auto;
  white-space:pre-wrap; overflow-wrap:anywhere; }
.charts { display:grid; grid-template-columns:repeat(auto-fit,minmax(260px,1fr)); gap:10px; }
svg { display:block; width:100%; height:auto; }
.wide svg { min-width:420px; max-width:680px; } .matrix svg { min-width:560px; max-width:820px; }
.ink { fill:var(--ink); } .over { fill:var(--card); }
.title { font:600 13px system-ui, sans-serif; } .small { font:11px system-ui, sans-serif; }
.tiny { font:10px system-ui, sans-serif; }
.grid { stroke:var(--rule); stroke-width:1; }
.line { fill:none; stroke:var(--c); stroke-width:1.8; stroke-linejoin:round; }
.faint { opacity:.28; stroke-width:1; }
.fill { fill:var(--c); }
.c0{--c:var(--c0)} .c1{--c:var(--c1)} .c2{--c:var(--c2)} .c3{--c:var(--c3)} .c4{--c:var(--c4)}
.c5{--c:var(--c5)} .c6{--c:var(--c6)} .c7{--c:var(--c7)}
.cell { fill:var(--page); } .hit { fill:var(--c0); } .miss { fill:var(--c6); }
.legend { display:flex; flex-wrap:wrap; gap:4px 14px; font-size:.85rem; margin:.5rem 0; padding:0;
  list-style:none; }
.legend i, td i { display:inline-block; width:12px; height:12px; border-radius:3px;
  margin-right:6px; vertical-align:-1px; border:1px solid var(--rule); }
.legend i.fill { background:var(--c); }
.above { display:grid; grid-template-columns:1fr 1fr; gap:8px; }
.around { display:grid; grid-template-columns:1fr; gap:8px; }
@media (min-width:720px) { .above { grid-template-columns:repeat(4,1fr); }
  .around { grid-template-columns:1fr 1fr; } .even table { table-layout:fixed; } }
figure { margin:0; } figure img { display:block; width:100%; height:auto; border-radius:6px;
  background:#000; } figcaption { font-size:.8rem; color:var(--soft); padding:2px 0 4px; }
footer { color:var(--soft); font-size:.85rem; padding:4px 2px 24px; }
"""
"""CSS; the classes of `train.report.svg` among them."""
