'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const find = (id) => document.getElementById(id);
  // Okabe and Ito's colours, told apart by colour-blind readers too; with more classes the shape changes.
  const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#5c4a9c', '#a67c00', '#1f2933', '#56b4e9'];
  const SYMBOLS = ['circle', 'square', 'diamond', 'cross', 'triangle-up', 'x', 'star', 'hexagon'];
  const SHAPES = ['●', '■', '◆', '✚', '▲', '✖', '★', '⬢'];
  const TICK_PITCH = 17;
  const lastStep = data.steps.length - 1;
  const firstChoice = Math.max(0, ...data.layers.map((name, place) => (name in data.views ? place : 0)));
  const state = { step: lastStep, layer: firstChoice, highlighted: null };
  const labels = Object.keys(data.classNames).map(Number).sort((a, b) => a - b);
  const colorOf = (label) => COLORS[labels.indexOf(label) % COLORS.length];
  const kindOf = (label) => Math.floor(labels.indexOf(label) / COLORS.length) % SYMBOLS.length;
  const nameOf = (label) => data.classNames[label] ?? String(label);
  // What plotly shows as it is: it reads a little HTML in its texts.
  const chartText = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  const narrow = () => window.innerWidth < 600;

  // Long names without the parts that half of the layers share, as long as no two become equal:
  // of bbox_head.cls_convs.1.conv#0 may stay cls_convs#0.
  function shortNames(names, length) {
    const parts = names.map((name) => name.match(/[#[]?[^.#[]+/g) ?? [name]);
    const counts = new Map();
    for (const one of parts) for (const part of new Set(one)) counts.set(part, (counts.get(part) ?? 0) + 1);
    const joined = (one) => one.reduce((text, part) => text + (text && !/^[#[]/.test(part) ? '.' : '') + part, '');
    const taken = new Set(names);
    return parts.map((one, place) => {
      let left = one;
      let text = names[place];
      const shared = [...one.keys()].filter((part) => 2 * counts.get(one[part]) >= names.length);
      const byCount = shared.sort((a, b) => counts.get(one[b]) - counts.get(one[a]) || a - b);
      for (const drop of byCount) {
        if (text.length <= length) break;
        const shorter = left.filter((part) => part !== one[drop]);
        const candidate = joined(shorter);
        if (shorter.length < 2 || /^[#[]/.test(shorter[0]) || taken.has(candidate)) continue;
        taken.delete(text);
        taken.add(candidate);
        [left, text] = [shorter, candidate];
      }
      if (text.length <= length) return text;
      while (text.length >= length && text.includes('.')) text = text.slice(text.indexOf('.') + 1);
      return `…${text.slice(1 - length)}`;
    });
  }

  const SHORT = { true: shortNames(data.layers, 16), false: shortNames(data.layers, 22) };
  const tick = (place) => chartText(SHORT[narrow()][place]);
  const CONFIG = {
    responsive: true, displaylogo: false, displayModeBar: !narrow(),
    modeBarButtons: [['zoom2d', 'pan2d', 'zoomIn2d', 'zoomOut2d', 'resetScale2d'], ['toImage']],
  };

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // Only so many names of layers as fit, more of them when zoomed in.
  function fittingTicks(chart) {
    const axis = chart._fullLayout?.xaxis;
    const [from, to] = axis?.range ?? [-0.5, data.layers.length - 0.5];
    const width = axis?._length ?? chart.clientWidth - 80;
    const visible = data.layers.map((_, place) => place).filter((place) => place >= from && place <= to);
    const every = Math.max(1, Math.ceil((visible.length * TICK_PITCH) / Math.max(1, width)));
    const places = visible.filter((place) => (place - visible[0]) % every === 0);
    return { 'xaxis.tickvals': places, 'xaxis.ticktext': places.map(tick) };
  }

  const marker = () => ({
    shapes: [{
      type: 'rect', xref: 'x', yref: 'paper', x0: state.layer - 0.5, x1: state.layer + 0.5, y0: 0, y1: 1,
      fillcolor: '#f0a33c', opacity: 0.3, line: { width: 0 }, layer: 'below',
    }],
  });

  const overLayers = [];

  function draw(chart, traces, layout) {
    const margin = narrow() ? { ...layout.margin, l: 44, r: 4, t: 8 } : layout.margin;
    return Plotly.newPlot(chart, traces, { ...layout, margin }, CONFIG);
  }

  async function drawOverLayers(id, traces, layout) {
    const chart = find(id);
    await draw(chart, traces, layout);
    overLayers.push(chart);
    const refit = () => Plotly.relayout(chart, { ...fittingTicks(chart), ...marker() });
    chart.on('plotly_click', (event) => select(Math.round(event.points[0].x)));
    let busy = false;
    chart.on('plotly_relayout', async (change) => {
      const zoomed = Object.keys(change).some((key) => key.startsWith('xaxis.range') || key === 'xaxis.autorange' || key === 'width');
      if (!zoomed || busy) return;
      busy = true;
      await refit();
      busy = false;
    });
    let width = chart.clientWidth;
    new ResizeObserver(() => {
      if (chart.clientWidth === width) return;
      width = chart.clientWidth;
      requestAnimationFrame(refit);
    }).observe(chart);
    await refit();
  }

  function withCellNames(traces) {
    return traces.map((trace) => ({
      ...trace,
      text: data.classes.map((name) => data.layers.map((layer) => `<b>${name}</b><br>${chartText(layer)}`)),
    }));
  }

  // ---- choices ----

  function select(layer) {
    if (layer < 0 || layer >= data.layers.length) return;
    state.layer = layer;
    find('layer').value = String(layer);
    find('previous').disabled = layer === 0;
    find('next').disabled = layer === data.layers.length - 1;
    for (const chart of overLayers) Plotly.relayout(chart, marker());
    markRow();
    showLayer();
  }

  function goTo(step) {
    state.step = step;
    const shown = data.steps[step];
    find('step').value = String(step);
    find('step').setAttribute('aria-valuetext', shown.name);
    find('step-name').textContent = shown.name;
    const index = find('index-chart');
    if (index.data) {
      // What the reader has asked for in the legend stays.
      const asked = new Map(index.data.map((trace) => [trace.name, trace.visible]));
      const traces = shown.index.map((trace) => ({ ...trace, visible: asked.get(trace.name) ?? trace.visible }));
      Plotly.react(index, traces, index.layout, CONFIG);
    }
    const classes = find('class-chart');
    if (classes.data && shown.classes) Plotly.react(classes, withCellNames(shown.classes), classes.layout, CONFIG);
    fillTable();
    showLayer();
  }

  // ---- the layer ----

  const number = (value, digits = 3) => (value === null || value === undefined ? '' : value.toFixed(digits));

  function showLayer() {
    const name = data.layers[state.layer];
    const row = data.steps[state.step].table[state.layer];
    find('layer-title').textContent = name;
    const step = data.steps[state.step].name;
    const facts = row
      ? `${step}: index ${number(row[0])} (95 %: ${number(row[1])} to ${number(row[2])}), chance ${number(row[3])}, ${row[7].toLocaleString('en')} samples.`
      : `${step}: not measured.`;
    const parts = data.steps[state.step].parts[state.layer];
    const view = data.views[name];
    const when = state.step === lastStep ? '' : ` Samples are those of ${data.steps[lastStep].name}.`;
    const capital = (text) => text && text[0].toUpperCase() + text.slice(1);
    find('layer-facts').textContent = capital(facts) + (parts ? ` ${capital(parts)}.` : '') + (view ? when : ' There are no samples to show for this layer.');
    find('layer-section').querySelector('.columns').style.display = view ? '' : 'none';
    if (view) showView(view);
  }

  function showView(view) {
    const chart = find('projection-chart');
    const faded = (label) => state.highlighted !== null && state.highlighted !== label;
    const trace = {
      type: 'scatter', mode: 'markers', x: view.x, y: view.y,
      marker: {
        size: view.labels.map((label) => (faded(label) ? 5 : 8)),
        color: view.labels.map(colorOf),
        symbol: view.labels.map((label) => SYMBOLS[kindOf(label)]),
        opacity: view.labels.map((label) => (faded(label) ? 0.12 : 0.8)),
        line: { width: 0.5, color: '#fff' },
      },
      text: view.labels.map((label, place) => `<b>${chartText(nameOf(label))}</b><br>image ${data.samples[view.samples[place]][0]}`),
      hovertemplate: '%{text}<extra></extra>',
    };
    const layout = structuredClone(data.layouts.projection);
    const percent = (share) => ` (${(100 * share).toFixed(0)} %)`;
    layout.xaxis.title.text += percent(view.explained[0]);
    layout.yaxis.title.text += percent(view.explained[1]);
    if (narrow()) Object.assign(layout, { margin: { ...layout.margin, r: 4, t: 8 }, height: 380 });
    Plotly.react(chart, [trace], layout, CONFIG);
    showPairs(find('disagreeing'), view.pairs.filter((pair) => pair[2] !== pair[3]));
    showPairs(find('agreeing'), view.pairs.filter((pair) => pair[2] === pair[3]));
  }

  function picture(sample, label) {
    const [image, address] = data.samples[sample];
    const shown = address
      ? element('img', { src: address, alt: `image ${image}, ${nameOf(label)}`, className: address.startsWith('data:image/png') ? 'tiny' : '' })
      : element('div', { className: 'missing' }, `image ${image}`);
    return element('figure', {}, shown, element('figcaption', {}, nameOf(label)));
  }

  function showPairs(list, pairs) {
    list.classList.toggle('none', !pairs.length);
    list.replaceChildren(...pairs.map(([sample, neighbor, label, other, distance]) => element(
      'li', {}, picture(sample, label), picture(neighbor, other),
      element('small', {}, `images ${data.samples[sample][0]} and ${data.samples[neighbor][0]}, distance ${distance}`),
    )));
    if (!pairs.length) list.append(element('li', { style: 'display:block' }, 'None among the samples looked at.'));
  }

  function makeChips() {
    find('chips').append(...labels.map((label) => {
      const shape = element('span', {}, `${SHAPES[kindOf(label)]} `);
      shape.setAttribute('aria-hidden', 'true');
      shape.style.color = colorOf(label);
      const chip = element('button', { type: 'button', title: nameOf(label) }, shape, nameOf(label));
      chip.setAttribute('aria-pressed', 'false');
      chip.addEventListener('click', () => {
        state.highlighted = state.highlighted === label ? null : label;
        for (const one of find('chips').children) one.setAttribute('aria-pressed', String(one === chip && state.highlighted !== null));
        showLayer();
      });
      return chip;
    }));
  }

  // ---- tables and texts ----

  function fillTable() {
    const costs = data.cost && state.step === lastStep ? data.cost.table : null;
    const titles = ['layer', 'index', '95 % interval', 'chance', 'soft', 'centre', 'change', 'samples'];
    const head = element('tr', {}, ...[...titles, ...(costs ? ['parameters', 'FLOPs'] : [])].map((title) => element('th', { scope: 'col' }, title)));
    const rows = data.layers.map((name, place) => {
      const button = element('button', { type: 'button' }, name);
      button.addEventListener('click', () => select(place));
      const row = data.steps[state.step].table[place];
      const cells = row
        ? [number(row[0], 4), `${number(row[1])} – ${number(row[2])}`, number(row[3]), number(row[4]), number(row[5]),
          row[6] === null ? '' : (row[6] < 0 ? '−' : '+') + Math.abs(row[6]).toFixed(4), row[7].toLocaleString('en')]
        : ['not measured', '', '', '', '', '', ''];
      return element('tr', {}, element('td', {}, button), ...[...cells, ...(costs ? costs[place] : [])].map((cell) => element('td', {}, cell)));
    });
    find('table').replaceChildren(element('thead', {}, head), element('tbody', {}, ...rows));
    markRow();
  }

  function markRow() {
    const rows = find('table').querySelectorAll('tbody tr');
    rows.forEach((row, place) => row.classList.toggle('selected', place === state.layer));
  }

  function fillTexts() {
    const measured = data.steps[lastStep].table.filter(Boolean);
    const most = measured.reduce((best, row) => Math.max(best, row[7]), 0);
    const unit = data.samplesAre === 'box' ? 'boxes' : `${data.samplesAre}s`;
    find('summary').textContent = `${data.layers.length} layers, ${most.toLocaleString('en')} ${unit}`
      + (lastStep ? `, ${data.steps.length} measurements` : '');
    find('notes').append(...data.notes.map((note) => element('li', {}, note)));
    const lines = Object.entries({ ...data.settings, ...data.environment });
    find('about').append(element('tbody', {}, ...lines.map(([name, value]) => element('tr', {}, element('th', { scope: 'row' }, name.replace(/_/g, ' ')), element('td', {}, value)))));
    find('configuration').textContent = data.configuration;
    find('configuration-box').hidden = !data.configuration;
  }

  function fillCost() {
    find('cost-section').hidden = !data.cost;
    if (!data.cost) return;
    const { parameters, flops, flagged } = data.cost;
    find('cost-total').textContent = `The network has ${parameters} parameters`
      + (flops ? ` and takes ${flops} FLOPs for one image.` : '; its FLOPs could not be counted, see the notes at the end.');
    const names = data.layers.filter((_, place) => flagged[place]);
    const box = find('flagged');
    if (!names.length) { box.textContent = 'No layer is both costly and without gain.'; return; }
    const listed = names.flatMap((name, place) => [place ? ', ' : '', element('span', { className: 'name' }, name)]);
    if (names.length <= 6) { box.append('Costly without gain: ', ...listed); return; }
    box.append(element('details', {}, element('summary', {}, `${names.length} layers are costly without gain`), ...listed));
  }

  // ---- start ----

  async function start() {
    find('layer').append(...data.layers.map((name, place) => element('option', { value: String(place) }, name)));
    find('layer').addEventListener('change', (event) => select(Number(event.target.value)));
    find('previous').addEventListener('click', () => select(state.layer - 1));
    find('next').addEventListener('click', () => select(state.layer + 1));
    find('step-control').hidden = !lastStep;
    find('step').max = String(lastStep);
    find('step').addEventListener('input', (event) => goTo(Number(event.target.value)));
    find('by-size').hidden = !data.bySize;
    fillTexts();
    fillCost();
    makeChips();
    const shown = data.steps[lastStep];
    await drawOverLayers('index-chart', shown.index, data.layouts.index);
    goTo(lastStep);
    select(state.layer);
    if (data.cost) await drawOverLayers('cost-chart', data.cost.traces, data.layouts.cost);
    find('class-section').hidden = !shown.classes;
    if (shown.classes) await drawOverLayers('class-chart', withCellNames(shown.classes), data.layouts.classes);
    document.documentElement.dataset.ready = 'true';
  }

  start();
})();
