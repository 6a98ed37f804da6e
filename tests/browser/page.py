"""Chromium with what the browser tests share: finding things as a person does, and looking for faults of a page.

FREEHOLD_TEST_SHOTS names a folder for pictures of every page that was looked at.
"""

import base64
import email
import json
import os
import pathlib
import re
import shutil
import sys
import time
import urllib.error
import urllib.request

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

BASE = os.environ["FREEHOLD_TEST_URL"]
SIZES = [(1440, 900), (390, 844)]
SHOTS = os.environ.get("FREEHOLD_TEST_SHOTS")
# How a page learns that nobody is signed in: the cookie is hidden from it. No other request may fail unasked.
ASKED = "/api/v1/session - Failed to load resource: the server responded with a status of 401"
PATIENCE_S = 60

# Two frames, and the end of what moves: then colours are what they stay.
STILL = """
const done = arguments[0];
const moving = () => document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime !== Infinity).map((one) => one.finished);
requestAnimationFrame(() => requestAnimationFrame(() => Promise.allSettled(moving()).then(() => done())));
"""

# Faults of the page as it stands: controls without a name, doubled ids, text that is hard to read, a page that is
# wider than the window. A small part of what axe looks at.
FAULTS = r"""
const faults = [];
const seen = (node) => node.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
const say = (node) => `${node.tagName.toLowerCase()}.${node.getAttribute("class") ?? ""} "${(node.textContent ?? "").trim().slice(0, 40)}"`;
const named = (node) => {
  const by = (node.getAttribute("aria-labelledby") ?? "").split(" ").filter(Boolean).map((id) => document.getElementById(id)?.textContent ?? "").join("");
  return (node.getAttribute("aria-label") || by || (node.labels && [...node.labels].map((label) => label.textContent).join("")) || node.textContent || node.title || "").trim();
};
for (const node of document.querySelectorAll("a[href], button, input, select, textarea, summary, [role=img], [role=meter], [role=progressbar], dialog, table")) {
  if (seen(node) && !named(node)) faults.push(`without a name: ${node.outerHTML.slice(0, 120)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push(`two elements have the id ${id}`);
for (const node of document.querySelectorAll("[aria-labelledby], [aria-describedby], [aria-controls]")) {
  for (const name of ["aria-labelledby", "aria-describedby", "aria-controls"]) {
    for (const id of (node.getAttribute(name) ?? "").split(" ").filter(Boolean)) if (!document.getElementById(id)) faults.push(`${name} names ${id}, which is not there`);
  }
}
if (document.querySelectorAll("h1").length !== 1) faults.push(`${document.querySelectorAll("h1").length} headings of the first level`);
if (!document.documentElement.lang) faults.push("no language");
if (document.querySelectorAll("main").length !== 1) faults.push("not one main part");
if (document.documentElement.scrollWidth > innerWidth) {
  const wide = [...document.querySelectorAll("main *")].filter((node) => node.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map(say);
  faults.push(`${document.documentElement.scrollWidth} wide in a window of ${innerWidth}: ${wide}`);
}
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const colour = (text) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, under) => [0, 1, 2].map((at) => top[at] * top[3] + under[at] * (1 - top[3])).concat(1);
const ground = (node) => {
  const layers = [];
  for (let at = node; at; at = at.parentElement) layers.push(colour(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
};
const light = ([r, g, b]) => {
  const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || node.closest("svg, noscript, .sr, .skip, script, option, [aria-disabled=true], :disabled") || !seen(node)) continue;
  const under = ground(node);
  const pair = [light(over(colour(getComputedStyle(node).color), under)), light(under)].sort((a, b) => b - a);
  const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
  const style = getComputedStyle(node);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) faults.push(`contrast of ${ratio.toFixed(2)}: ${say(node)}`);
}
return [...new Set(faults)];
"""


def start():
    """A browser without a window."""
    options = Options()
    options.binary_location = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))))
    options.add_argument("--headless=new")
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument("--disable-gpu")
    options.add_argument("--window-size=1440,900")
    if os.geteuid() == 0:
        # Chromium does not sandbox for root.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": os.environ.get("FREEHOLD_TEST_DOWNLOADS", "/nonexistent")})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def ask(path, key):
    """The status of a GET with a key, past the browser."""
    request = urllib.request.Request(BASE + path, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def mail_link(purpose, to=None):
    """The link of the newest mail for this purpose."""
    folder = pathlib.Path(os.environ["FREEHOLD_TEST_MAIL"])
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for path in sorted(folder.glob("*.eml"), reverse=True):
            letter = email.message_from_bytes(path.read_bytes())
            found = re.search(rf"\S+/#/{purpose}/\S+", letter.get_payload(decode=True).decode())
            if found and (to is None or to in letter["To"]):
                return found.group()
        time.sleep(0.05)
    raise AssertionError(f"no mail to {to} with a link to {purpose}")


def call(path, key, body=None):
    """A request with a key, past the browser: status and JSON. With a body it is a POST."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, {"authorization": f"Bearer {key}", "content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def amount(text):
    """An amount as it is written on a page."""
    return float(re.sub(r"[^\d.]", "", text))


def downloaded(name):
    """The bytes of a file that the browser has downloaded."""
    path = pathlib.Path(os.environ["FREEHOLD_TEST_DOWNLOADS"]) / name
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{name} is not there, but {os.listdir(path.parent)}"
        time.sleep(0.05)
    return path.read_bytes()


class Page:
    """One tab."""

    def __init__(self, driver):
        self.driver = driver
        self.shots = 0

    def open(self, path):
        self.driver.get(BASE + path)
        self.settle()

    def settle(self):
        """Waits until the page is drawn."""
        self.until(lambda: self.driver.execute_script("return document.querySelector('h1') && !document.querySelector('.loading, .boot')"), "the page is drawn")

    def until(self, look, what):
        def safely(_):
            try:
                return look()
            except StaleElementReferenceException:
                return None

        try:
            return WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.05).until(safely)
        except TimeoutException:
            raise AssertionError(f"waited too long: {what}; {self.driver.current_url} says: {self.text()[:2000]}") from None

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, kind, text):
        """The visible element of a kind (a CSS selector) with this text or label, in the dialog that is open, if one is."""

        def look():
            scopes = self.driver.find_elements(By.CSS_SELECTOR, "dialog[open]") or [self.driver]
            for node in scopes[-1].find_elements(By.CSS_SELECTOR, kind):
                if node.is_displayed() and text in (node.text.strip(), node.get_attribute("aria-label")):
                    return node
            return None

        return self.until(look, f"{kind} {text!r}")

    def press(self, text):
        self.find("button, a, [role=tab]", text).click()

    def field(self, label):
        """The control with this label."""

        def look():
            scopes = self.driver.find_elements(By.CSS_SELECTOR, "dialog[open]") or [self.driver]
            for node in scopes[-1].find_elements(By.CSS_SELECTOR, "label"):
                if node.text.strip() == label:
                    return self.driver.find_element(By.ID, node.get_attribute("for"))
            return None

        return self.until(look, f"the field {label!r}")

    def write(self, label, text):
        node = self.field(label)
        node.clear()
        node.send_keys(text)

    def choose(self, label, text):
        node = self.field(label)
        next(option for option in node.find_elements(By.TAG_NAME, "option") if option.text == text).click()

    def with_password(self, address, password):
        """Signs in as a person."""
        self.open("/login")
        self.write("E-mail", address)
        self.write("Password", password)
        self.press("Sign in")
        self.until(lambda: "/login" not in self.driver.current_url, "signed in")
        self.settle()

    def sign_out(self):
        self.press("Sign out")
        self.until(lambda: "/login" in self.driver.current_url, "signed out")

    def secret(self):
        """What is shown this once."""
        return self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, "[data-secret]"), "the secret")[0].text

    def row(self, text):
        """The texts of the cells of the table row that has this text, by their columns' titles."""

        def look():
            for node in self.driver.find_elements(By.CSS_SELECTOR, "tbody tr"):
                cells = node.find_elements(By.CSS_SELECTOR, "th, td")
                if any(text == cell.text.strip() for cell in cells):
                    return {cell.get_attribute("data-label"): cell.text.strip() for cell in cells}
            return None

        return self.until(look, f"a row with {text!r}")

    def figure(self, title):
        """The value of a large figure of the page, and its note."""
        for node in self.driver.find_elements(By.CSS_SELECTOR, ".figure"):
            if node.find_element(By.TAG_NAME, "dt").text == title:
                return [part.text for part in node.find_elements(By.TAG_NAME, "dd")]
        raise AssertionError(f"no figure {title}: {self.text()}")

    def says(self, text):
        self.until(lambda: text in self.text(), f"{text!r} is on the page")

    def with_key(self, key):
        """Signs in with a key, by hand."""
        self.open("/login")
        self.driver.execute_script("sessionStorage.clear()")
        self.write("API key", key)
        self.press("Sign in with the key")
        self.until(lambda: "/login" not in self.driver.current_url, "signed in")
        self.settle()

    def check(self):
        """Looks for faults in both themes and at both widths."""
        self.settle()
        for dark in ("light", "dark"):
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": dark}, {"name": "prefers-reduced-motion", "value": "reduce"}]})
            for width, height in SIZES:
                self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
                self.driver.execute_async_script(STILL)
                faults = self.driver.execute_script(FAULTS)
                self.shoot(f"{dark}-{width}")
                assert not faults, (self.driver.current_url, dark, width, faults)
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.complaints()

    def shoot(self, name):
        """Keeps a picture of the whole page, where pictures are wanted."""
        if not SHOTS:
            return
        self.shots += 1
        width, height = self.driver.execute_script("return [innerWidth, Math.min(3000, Math.max(innerHeight, document.documentElement.scrollHeight))]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        page = re.sub(r"\W+", "-", self.driver.current_url.removeprefix(BASE)).strip("-") or "start"
        pathlib.Path(SHOTS).mkdir(parents=True, exist_ok=True)
        (pathlib.Path(SHOTS) / f"{pathlib.Path(sys.argv[0]).stem}-{self.shots:03}-{page}-{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def complaints(self, expected=()):
        """What the browser complained about since the last look: scripts that failed, policies that were broken, requests
        that were refused, but for the paths of `expected`, each of which was."""
        left = list(expected)
        for entry in self.driver.get_log("browser"):
            message = entry["message"]
            refused = "Failed to load resource: the server responded with a status of 4" in message
            known = [path for path in expected if refused and path in message]
            left = [path for path in left if path not in known]
            if entry["level"] not in ("DEBUG", "INFO") and not known and ASKED not in message:
                raise AssertionError((self.driver.current_url, message))
        assert not left, f"not refused: {left}"


class Keyboard(Page):
    """One tab, and a person who has no mouse."""

    STEPS_MAX = 150

    def type(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        return self.driver.switch_to.active_element

    def reach(self, look, what):
        """Goes from one thing to the next with the Tab key until this one has the focus; it must be seen to have it."""
        self.settle()
        been = []
        for _ in range(self.STEPS_MAX):
            node = self.focused()
            if look(node):
                ring = self.driver.execute_script("const is = getComputedStyle(arguments[0]); return is.outlineStyle !== 'none' || is.boxShadow !== 'none'", node)
                assert ring, f"{what} does not show that it has the focus"
                return node
            been.append(self.name(node)[:40])
            self.type(Keys.TAB)
        raise AssertionError(f"{what} is not reached by keyboard on {self.driver.current_url}: {been}")

    def name(self, node):
        """What a reader of the screen would say: the label, or the text."""
        script = "const node = arguments[0]; return node.getAttribute('aria-label') || [...node.labels ?? []].map((label) => label.textContent).join() || node.textContent"
        return (self.driver.execute_script(script, node) or "").strip()

    def press(self, text):
        self.reach(lambda node: node.tag_name in ("button", "a") and self.name(node) == text, text)
        self.type(Keys.ENTER)

    def field(self, label):
        return self.reach(lambda node: node.tag_name in ("input", "textarea", "select") and self.name(node) == label, label)

    def write(self, label, text):
        self.field(label)
        ActionChains(self.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys(text).perform()

    def choose(self, label, text):
        self.field(label)
        self.type(text)
        self.until(lambda: self.driver.execute_script("return document.activeElement.selectedOptions[0].text") == text, f"{text} is chosen")
