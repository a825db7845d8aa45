"""The page in a real browser, where there is one: Chromium with its driver, and selenium."""

import shutil
import time

import pytest

from mmlayerwise.visualization.report import write_report
from tests.test_visualization.test_report.examples import report

pytest.importorskip('plotly')
webdriver = pytest.importorskip('selenium.webdriver')
action_builder = pytest.importorskip('selenium.webdriver.common.actions.action_builder')
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))), None)
DRIVER = shutil.which('chromedriver')
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason='no Chromium with chromedriver'
)

FLAGS = (
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--window-size=1280,900',
)
NASTY = '<img src=x onerror="document.title=1"><b>x</b>'


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("profile")}'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    service = webdriver.chrome.service.Service(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    """Writes a report and opens it; checks at the end that nothing went wrong in the browser."""

    def open_report(data):
        write_report(data, tmp_path / 'report.html')
        browser.get(f'file://{tmp_path}/report.html')
        wait_for(browser, "document.documentElement.dataset.ready === 'true'")
        return browser

    yield open_report
    messages = [entry['message'] for entry in browser.get_log('browser')]
    assert messages == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def wait_for(browser, condition, seconds=60):
    end = time.monotonic() + seconds
    while not browser.execute_script(f'return {condition}'):
        assert time.monotonic() < end, f'never came true: {condition}'
        time.sleep(0.05)


def text_of(browser, name):
    return browser.find_element('id', name).text


def press(browser, name, *keys):
    browser.find_element('id', name).send_keys(*keys)


def indices_shown(browser):
    return browser.execute_script("return document.getElementById('index-chart').data[3].y")


def test_the_page_shows_all_its_parts(opened):
    browser = opened(report())
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map(c => [c.id, c.data?.length > 0])"
    )
    assert drawn == [
        ['index-chart', True],
        ['projection-chart', True],
        ['cost-chart', True],
        ['class-chart', True],
    ]
    assert text_of(browser, 'layer-title') == 'backbone.layer3.conv'
    assert 'A note.' in text_of(browser, 'notes')
    assert 'torch' in text_of(browser, 'about')
    loaded = '[...document.images].length > 0 && [...document.images].every(i => i.naturalWidth)'
    wait_for(browser, loaded)


def test_the_slider_moves_through_the_epochs_by_keyboard(opened):
    browser = opened(report(num_steps=3))
    last = indices_shown(browser)
    assert text_of(browser, 'step-name') == 'epoch 3'
    press(browser, 'step', webdriver.Keys.ARROW_LEFT)
    wait_for(browser, "document.getElementById('step-name').textContent === 'epoch 2'")
    wait_for(browser, "document.getElementById('index-chart').data[3].y[0] < 0.41")
    assert indices_shown(browser) == pytest.approx([value - 0.05 for value in last], abs=1e-3)
    assert 'Epoch 2: index' in text_of(browser, 'layer-facts')
    press(browser, 'step', webdriver.Keys.HOME)
    wait_for(browser, "document.getElementById('step-name').textContent === 'epoch 1'")


def test_a_click_on_a_layer_shows_its_samples(opened):
    browser = opened(report(num_layers=4))
    before = browser.execute_script("return document.getElementById('projection-chart').data[0].x")
    x, y = browser.execute_script(
        """const chart = document.getElementById('index-chart');
        chart.scrollIntoView({block: 'center'});
        const {xaxis, yaxis} = chart._fullLayout, box = chart.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.l2p(1),
                box.top + yaxis._offset + yaxis.l2p(chart.data[3].y[1])];"""
    )
    for act in ('move_to_location', 'click'):
        actions = action_builder.ActionBuilder(browser)
        getattr(actions.pointer_action, act)(*([round(x), round(y)] if 'move' in act else []))
        actions.perform()
        # A click counts once the chart has noticed what is under the pointer.
        wait_for(browser, "document.querySelector('#index-chart .hovertext') !== null")
    wait_for(browser, "document.getElementById('layer-title').textContent.endsWith('layer1.conv')")
    after = browser.execute_script("return document.getElementById('projection-chart').data[0].x")
    assert after != before
    assert browser.find_element('id', 'layer').get_attribute('value') == '1'


def test_layers_are_reached_by_keyboard(opened):
    browser = opened(report(num_layers=4))
    press(browser, 'previous', webdriver.Keys.ENTER)
    assert text_of(browser, 'layer-title') == 'backbone.layer2.conv'
    press(browser, 'layer', webdriver.Keys.ARROW_UP)
    assert text_of(browser, 'layer-title') == 'backbone.layer1.conv'
    browser.execute_script("document.querySelector('details').open = true")
    browser.find_elements('css selector', '#table tbody button')[0].send_keys(webdriver.Keys.ENTER)
    assert text_of(browser, 'layer-title') == 'backbone.layer0.conv'
    assert not browser.find_element('id', 'previous').is_enabled()


def test_sizes_are_shown_when_the_legend_is_asked_and_stay_with_the_slider(opened):
    data = report(num_steps=2)
    for one in data.record.measurements:
        for place, layer in enumerate(one.profile.layers):
            layer.per_size = {'small': (0.1 + one.epoch / 10, 7), 'large': (0.9, 30)}
            layer.level = place
    browser = opened(data)
    assert browser.find_element('id', 'by-size').is_displayed()
    assert 'Pyramid level 3, small objects 0.300 (7), large objects 0.900 (30).' in text_of(
        browser, 'layer-facts'
    )
    small = "document.getElementById('index-chart').data.find(t => t.name === 'small')"
    assert browser.execute_script(f'return {small}.visible') == 'legendonly'
    toggle = "[...document.querySelectorAll('#index-chart .traces')]"
    browser.execute_script(
        f"""const item = {toggle}.find(g => g.textContent.includes('small'));
        const toggle = item.querySelector('.legendtoggle');
        for (const type of ['mousedown', 'mouseup']) toggle.dispatchEvent(new MouseEvent(type));"""
    )
    wait_for(browser, f'{small}.visible === true')
    press(browser, 'step', webdriver.Keys.ARROW_LEFT)
    wait_for(browser, f'{small}.y[0] === 0.2')
    assert browser.execute_script(f'return {small}.visible') is True


def test_long_names_lose_what_half_of_them_share_and_stay_different(opened):
    names = [f'backbone.layer{number}.0.conv1' for number in range(3)]
    names += [f'bbox_head.{kind}_convs.1.conv#{n}' for n in range(2) for kind in ('cls', 'reg')]
    browser = opened(report(7, names=names))
    shown = browser.execute_script(
        "return document.getElementById('index-chart')._fullLayout.xaxis.ticktext"
    )
    assert shown[:3] == [f'…layer{number}.0.conv1' for number in range(3)]
    assert shown[3:] == ['cls_convs.1.conv#0', 'reg_convs.1.conv#0', 'cls_convs.1.conv#1',
                         'reg_convs.1.conv#1']  # fmt: skip


def test_a_class_is_highlighted_and_released(opened):
    browser = opened(report())
    opacity = "return document.getElementById('projection-chart').data[0].marker.opacity"
    (chip, _) = browser.find_elements('css selector', '#chips button')
    chip.click()
    assert browser.execute_script(opacity)[:2] == [0.8, 0.12]
    assert chip.get_attribute('aria-pressed') == 'true'
    chip.click()
    assert set(browser.execute_script(opacity)) == {0.8}


def test_names_are_shown_and_never_run(opened):
    names = [f'{NASTY}{number}' for number in range(3)]
    browser = opened(report(3, classes=(NASTY, 'dog'), names=names))
    assert browser.title == 'A report'
    assert text_of(browser, 'layer-title') == names[-1]
    strays = (
        'return document.querySelectorAll(\'img:not([src^="data:"]), b:not(.caption b)\').length'
    )
    assert browser.execute_script(strays) == 0


def test_two_hundred_layers_on_a_phone(browser, opened):
    classes = [f'class {number}' for number in range(80)]
    size = dict(width=375, height=812, deviceScaleFactor=1, mobile=True)
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
    try:
        opened(report(200, 5, classes, num_points=100))
        assert browser.execute_script('return document.documentElement.scrollWidth') <= 375
        shown = browser.execute_script(
            "return document.getElementById('index-chart')._fullLayout.xaxis.tickvals.length"
        )
        assert 5 < shown < 30
    finally:
        browser.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
