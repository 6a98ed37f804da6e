"""Chromium with what the browser tests share: finding things as a person does, and looking for faults of a page."""

import os
import shutil
import urllib.error
import urllib.request

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

BASE = os.environ["FREEHOLD_TEST_URL"]
SIZES = [(1440, 900), (390, 844)]
# Asked for by the console to learn who is signed in and what this service offers: a refusal is an answer.
ASKED = ("session", "signup", "usage", "limits", "balance", "invoices", "prices", "users", "trail", "revenue", "waiting", "invites", "vouchers")
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
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def ask(path, key):
    """The status of a GET with a key, past the browser."""
    request = urllib.request.Request(BASE + path, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class Page:
    """One tab."""

    def __init__(self, driver):
        self.driver = driver

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

    def says(self, text):
        self.until(lambda: text in self.text(), f"{text!r} is on the page")

    def with_key(self, key):
        """Signs in with a key, by hand."""
        self.driver.execute_script("sessionStorage.clear()")
        self.open("/login")
        self.write("API key", key)
        self.press("Sign in with the key")
        self.until(lambda: "/login" not in self.driver.current_url, "signed in")
        self.settle()

    def check(self):
        """Looks for faults in both themes and at both widths."""
        for dark in ("light", "dark"):
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": dark}, {"name": "prefers-reduced-motion", "value": "reduce"}]})
            for width, height in SIZES:
                self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
                self.driver.execute_async_script(STILL)
                faults = self.driver.execute_script(FAULTS)
                assert not faults, (self.driver.current_url, dark, width, faults)
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.complaints()

    def complaints(self, expected=()):
        """What the browser complained about since the last look: scripts that failed, policies that were broken."""
        for entry in self.driver.get_log("browser"):
            message = entry["message"]
            refused = "Failed to load resource: the server responded with a status of 4" in message
            if entry["level"] in ("DEBUG", "INFO") or (refused and any(path in message for path in (*(f"/api/v1/{name}" for name in ASKED), *expected))):
                continue
            raise AssertionError((self.driver.current_url, message))
