"""The report's HTML, a Jinja template. Everything is inside the page: it opens from disk, with no network and no scripts."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Speech2Face: evaluation</title>
<style>
:root { --ink: #1b1f24; --muted: #5b636d; --line: #dfe3e8; --soft: #f5f7f9; --accent: #0b6fa4; --warn: #8f3210; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: var(--ink); background: #fff; font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p, ul { max-width: 42rem; }
.note { color: var(--muted); font-size: .9rem; }
.warning { color: var(--warn); border-left: 4px solid var(--warn); background: #fdf3ee; padding: .5rem .75rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
td.number, th.number { text-align: right; }
thead th, tbody th { white-space: normal; }
tbody th { min-width: 8rem; max-width: 16rem; overflow-wrap: break-word; }
td.text { white-space: normal; min-width: 8rem; overflow-wrap: anywhere; text-align: left; }
td small { color: var(--muted); display: block; }
thead th { color: var(--muted); font-weight: 600; }
figure { margin: .75rem 0; }
figcaption { color: var(--muted); font-size: .85rem; max-width: 42rem; }
.chart { max-width: 100%; height: auto; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.charts figure { margin: 0; max-width: 100%; }
.charts figcaption { max-width: 27rem; }
.person { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; margin: .75rem 0; }
.person h3 { margin: 0 0 .4rem; }
.faces { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .4rem; }
.faces figure { margin: 0; }
.faces img { width: 100%; height: auto; display: block; border-radius: 4px; background: var(--soft); }
@media (max-width: 34rem) {
tbody th { min-width: 6.5rem; max-width: 6.5rem; }
 .faces { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
nav { background: var(--soft); padding: .5rem .75rem; border-radius: 6px; font-size: .9rem; }
nav a { color: var(--accent); margin-right: .9rem; display: inline-block; padding: .2rem 0; }
</style>
</head>
<body>
{%- macro table(content) %}
<div class="wide" tabindex="0" role="region" aria-label="{{ content.title }}"><table>
<thead><tr>
{%- for name in content.columns %}
<th scope="col"{% if content.numbers and not loop.first %} class="number"{% endif %}>{{ name }}</th>
{%- endfor %}
</tr></thead>
<tbody>
{%- for row in content.rows %}
<tr>{% for cell in row %}{% if loop.first %}<th scope="row">{{ cell.text }}</th>{% else -%}
<td class="{{ 'number' if content.numbers else 'text' }}">{{ cell.text }}
{%- for line in cell.details %}<small>{{ line }}</small>{% endfor %}</td>{% endif %}{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- endmacro %}
{%- macro chart(picture) %}
<figure><img class="chart" src="{{ picture.source }}" alt="{{ picture.alt }}"><figcaption>{{ picture.caption }}</figcaption></figure>
{%- endmacro %}
<h1>Speech2Face: evaluation on unseen speakers</h1>
<p>{{ summary }}</p>
{%- for text in warnings %}
<p class="warning" role="alert">{{ text }}</p>
{%- endfor %}
<nav aria-label="Sections">{% for section in sections %}<a href="#{{ section.id }}">{{ section.title }}</a>{% endfor %}</nav>
{%- for section in sections %}
<section id="{{ section.id }}" aria-labelledby="{{ section.id }}-title">
<h2 id="{{ section.id }}-title">{{ section.title }}</h2>
{%- for text in section.texts %}
<p>{{ text }}</p>
{%- endfor %}
{%- for person in section.people %}
<article class="person"><h3>{{ person.title }}</h3>
<div class="faces">{% for picture in person.pictures %}
<figure><img src="{{ picture.source }}" alt="{{ picture.alt }}" width="224" height="224">
<figcaption>{{ picture.caption }}</figcaption></figure>
{%- endfor %}</div></article>
{%- endfor %}
{%- for content in section.tables %}
<h3>{{ content.title }}</h3>
{{ table(content) }}
{%- if content.note %}<p class="note">{{ content.note }}</p>{% endif %}
{%- endfor %}
<div class="charts">{% for picture in section.charts %}{{ chart(picture) }}{% endfor %}</div>
</section>
{%- endfor %}
</body>
</html>
"""
