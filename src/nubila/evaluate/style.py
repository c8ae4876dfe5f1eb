"""The style sheet of our HTML pages."""

from __future__ import annotations

from typing import Final

__all__ = ["CSS"]

# The first six series are Okabe & Ito's colours (2008), which stay apart for colour-blind readers;
# grey and brown follow them.
CSS: Final = """
:root{--paper:#fbfbf9;--card:#fff;--ink:#1f2328;--faint:#626a73;--line:#dcdfe3;--soft:#eef0f2;
--heat:0,114,178;--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#b4538a;--s4:#b88600;--s5:#3a9bd0;
--s6:#6b7280;--s7:#8a5a2b}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1b1f23;--ink:#e4e7ea;
--faint:#98a1aa;--line:#343a40;--soft:#252a2f;--heat:86,180,233;--s0:#56b4e9;--s1:#f08a3c;
--s2:#2fc79b;--s3:#df8fbd;--s4:#e6b422;--s5:#8ecdf0;--s6:#a3abb5;--s7:#c99a6b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 20px 48px}
header{border-bottom:2px solid var(--ink);margin-bottom:8px}
h1{font-size:1.75rem;line-height:1.2;margin:.4em 0 .2em;overflow-wrap:anywhere}
header p{color:var(--faint);margin:.2em 0 .9em;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.2em 0 .5em}
h3{font-size:1rem;margin:1.4em 0 .4em;overflow-wrap:anywhere}
h3 small{font-weight:400;color:var(--faint);margin-left:.5em}
td small{color:var(--faint)}
.note{color:var(--faint);max-width:46em;margin:.3em 0 .9em;font-size:.92rem}
.wide{overflow-x:auto;margin:.4em 0 1em}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th{font-weight:600;text-align:left;color:var(--faint);border-bottom:1px solid var(--ink);
vertical-align:bottom;line-height:1.25}
td{border-bottom:1px solid var(--line)}
th,td{padding:.38em .7em .38em 0;white-space:nowrap}
th{white-space:normal}
.n{text-align:right}
tr.base td{color:var(--faint)}
.bar{position:relative;height:1.2em;min-width:140px;
background:linear-gradient(var(--line),var(--line)) center/100% 1px no-repeat}
.bar *{position:absolute;top:0;bottom:0}
.bar i{margin:.42em 0;background:currentColor;opacity:.4;border-radius:2px}
.bar b{width:.62em;height:.62em;margin:.29em 0 0 -.31em;border-radius:50%;background:currentColor}
.bar s{width:1px;background:var(--faint)}
.s0{color:var(--s0)}.s1{color:var(--s1)}.s2{color:var(--s2)}
.s3{color:var(--s3)}.s4{color:var(--s4)}.s5{color:var(--s5)}
.s6{color:var(--s6)}.s7{color:var(--s7)}
.series::before{content:"";display:inline-block;width:.6em;height:.6em;border-radius:50%;
background:currentColor;margin-right:.45em}
.series{font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,250px),1fr));gap:14px;
margin:1.2em 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 18px}
.card .big{font-size:2.5rem;font-weight:650;line-height:1.15;color:var(--ink)}
.card .big small{display:block;font-size:.92rem;line-height:1.4;font-weight:400;color:var(--faint)}
.card dl{display:grid;grid-template-columns:1fr auto;gap:.1em 1em;margin:.5em 0 0;
font-variant-numeric:tabular-nums;font-size:.92rem}
.card dt{color:var(--faint)}.card dd{margin:0;text-align:right}
td.heat{background:rgba(var(--heat),calc(var(--p)*.62));text-align:right;padding:.38em .7em}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:14px}
.plots.broad{grid-template-columns:repeat(auto-fill,minmax(min(100%,460px),1fr))}
svg{width:100%;height:auto;display:block;font:12px system-ui,sans-serif;fill:var(--ink)}
svg .axis{stroke:var(--line);fill:none}
svg .text{fill:var(--faint)}
svg .diagonal{stroke:var(--faint);stroke-dasharray:4 4;fill:none}
svg .curve{stroke:currentColor;fill:none;stroke-width:1.8;stroke-linejoin:round}
svg .dot{fill:currentColor;fill-opacity:.75}
svg .count{fill:currentColor;fill-opacity:.22}
figure{margin:0}figure img{width:100%;height:auto;display:block;border-radius:3px;
image-rendering:auto;background:var(--soft)}
figcaption{color:var(--faint);font-size:.85rem;line-height:1.35;margin-top:.25em;
overflow-wrap:anywhere}
.panel{display:grid;grid-template-columns:repeat(var(--k),1fr);gap:10px;
margin:.3em 0 1.4em}
.key{display:flex;flex-wrap:wrap;gap:.2em 1.1em;font-size:.88rem;color:var(--faint);
margin:.4em 0 1em}
.key span:not(.series)::before{content:"";display:inline-block;width:.85em;height:.85em;
border-radius:2px;margin-right:.4em;vertical-align:-.08em;background:var(--c);
outline:1px solid var(--line)}
details{margin:.5em 0}summary{cursor:pointer;color:var(--faint)}
pre{overflow:auto;background:var(--soft);padding:12px;border-radius:6px;font-size:.82rem;
line-height:1.4;max-height:70vh}
.rules{font-size:.9rem}.rules dt{font-weight:600}.rules dd{margin:0 0 .6em;color:var(--faint)}
footer{margin-top:3em;color:var(--faint);font-size:.85rem;border-top:1px solid var(--line);
padding-top:.6em}
@media(max-width:600px){main{padding:10px 13px 30px}h1{font-size:1.35rem}
.panel{grid-template-columns:repeat(2,1fr)}.bar{min-width:96px}.cards{grid-template-columns:1fr}}
@media print{details>*{display:block}section{break-inside:avoid}}
"""
