"""The console in Chromium against a running service: log in with a key, create one, chat, operate."""

import json
import os

from page import BASE, Page, ask, call, downloaded, start
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

KEY = os.environ["FREEHOLD_TEST_KEY"]
OPERATOR_KEY = os.environ["FREEHOLD_TEST_OPERATOR_KEY"]
MODEL = os.environ["FREEHOLD_TEST_MODEL"]
STARTER = os.environ["FREEHOLD_TEST_STARTER"]
OUTSIDE = ["/", "/login", "/forgot", "/reset", "/verify"]
TENANT = ["/playground", "/usage", "/responses", "/limits", "/billing", "/team"]
CUSTOMER = ["/", "/keys", "/prices", "/trail", "/account", *TENANT]
# Those of a tenant too: they say so.
OPERATOR = [f"/operator{page}" for page in ("", "/models", "/tenants", "/billing", "/admission", "/revenue")] + ["/keys", "/prices", "/trail", "/account", *TENANT]
HOSTILE = '<img src=x onerror="document.title=1">'


def stranger(page):
    for path in OUTSIDE:
        page.open(path)
        page.check()
    page.open("/keys")
    assert "/login?next=%2Fkeys" in page.driver.current_url, page.driver.current_url
    page.open("/login")
    page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    skip = page.driver.switch_to.active_element
    assert skip.text == "Skip to the content" and skip.is_displayed(), skip.text
    page.write("API key", "fh-wrong")
    page.press("Sign in with the key")
    page.says("That did not work")
    page.complaints(["/api/v1/whoami"])
    # A sign-in leads nowhere else, whatever the address says.
    page.open("/login?next=//example.com/")
    page.write("API key", KEY)
    page.press("Sign in with the key")
    page.until(lambda: page.driver.current_url == BASE + "/", "the start page")


def keys(page):
    page.open("/keys")
    page.press("Create a key")
    page.write("Name", HOSTILE)
    page.choose("Expires", "In 30 days")
    page.choose("Models", "Only these")
    page.driver.find_element(By.CSS_SELECTOR, f"input[name=model][value='{MODEL}']").click()
    page.check()
    page.press("Create the key")
    secret = page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, "[data-secret]"), "the secret")[0].text
    assert ask("/v1/models", secret) == 200
    page.check()
    page.press("I have kept it")
    page.says(HOSTILE)
    assert secret not in page.driver.page_source
    page.press(f"Rotate {HOSTILE}")
    page.choose("The old secret", "Ends at once")
    page.press("Rotate the key")
    fresh = page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, "[data-secret]"), "the new secret")[0].text
    assert fresh != secret and ask("/v1/models", secret) == 401 and ask("/v1/models", fresh) == 200
    page.press("I have kept it")
    page.press(f"Revoke {HOSTILE}")
    page.press("Revoke the key")
    page.until(lambda: ask("/v1/models", fresh) == 401, "the key is refused")
    page.press("Create a key")
    page.press("Create the key")
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, "dialog .wrong:not([hidden])"), "what is wrong with the name")
    page.press("Cancel")
    page.check()


def said(page):
    return [node.text for node in page.driver.find_elements(By.CSS_SELECTOR, ".turn.assistant .said")]


def chat(page):
    page.open("/playground")
    page.choose("Model", MODEL)
    page.write("System prompt", "You are brief.")
    page.write("Seed", "7")
    page.driver.find_element(By.CSS_SELECTOR, "input[name=max_tokens]").clear()
    page.driver.find_element(By.CSS_SELECTOR, "input[name=max_tokens]").send_keys("48")
    box = page.driver.find_element(By.CSS_SELECTOR, ".ask textarea")
    box.send_keys("Say hello.", Keys.ENTER)
    facts = page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".turn.assistant .facts"), "the end of the answer")[0].text
    assert "tokens/s" in facts and "out" in facts, facts
    assert said(page)[0], "an empty answer"
    page.check()
    # A long answer is stopped; what was said stays.
    limit = page.driver.find_element(By.CSS_SELECTOR, "input[name=max_tokens]")
    limit.clear()
    limit.send_keys("4096")
    box.send_keys("Tell me a very long story about the sea, with many chapters.", Keys.ENTER)
    page.until(lambda: len(said(page)) == 2 and len(said(page)[1]) > 20, "the answer grows")
    page.press("Stop")
    page.until(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, ".turn.assistant .facts")) == 2, "it stopped")
    assert "stopped" in page.driver.find_elements(By.CSS_SELECTOR, ".turn.assistant .facts")[1].text
    page.press("View code")
    page.find("[role=tab]", "curl").send_keys(Keys.ARROW_RIGHT)
    code = page.until(lambda: page.driver.find_element(By.CSS_SELECTOR, "dialog .code").text, "the code")
    assert "OpenAI(" in code and f"{BASE}/v1" in code and "seed=7" in code, code
    page.check()
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.driver.find_elements(By.CSS_SELECTOR, "dialog"), "the dialog is closed")


def stored(page):
    """What a client has stored is listed, looked at, taken along and deleted."""
    page.open("/responses")
    page.says("Nothing is stored")
    page.check()
    for text in (HOSTILE, "Say hello."):
        assert call("/v1/responses", KEY, {"model": MODEL, "input": text, "max_output_tokens": 8})[0] == 200
    page.open("/responses")
    rows = lambda: page.driver.find_elements(By.CSS_SELECTOR, "table[aria-label='Stored responses'] tbody tr")
    assert len(rows()) == 2 and "1.0 GiB" in page.driver.find_element(By.CSS_SELECTOR, ".rank").text, page.driver.page_source
    page.check()
    rows()[1].find_element(By.CSS_SELECTOR, "button").click()
    page.says(HOSTILE)
    page.check()
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.driver.find_elements(By.CSS_SELECTOR, "dialog"), "the dialog is closed")
    page.press("Export all")
    lines = [json.loads(line) for line in downloaded("responses.ndjson").splitlines()]
    assert [line["input_items"][0]["content"][0]["text"] for line in lines] == [HOSTILE, "Say hello."], lines
    for left in (1, 0):
        rows()[0].find_elements(By.CSS_SELECTOR, "button")[1].click()
        page.press("Delete the response")
        page.until(lambda: len(rows()) == left, "it is gone")
    page.says("Nothing is stored")


def visit(page, paths):
    for path in paths:
        page.open(path)
        page.check()


def operate(page):
    page.with_key(OPERATOR_KEY)
    page.open("/operator")
    page.says(MODEL)
    page.says("Tokens/s of an answer")
    page.open("/operator/tenants")
    page.press("Create a tenant")
    page.write("Name", "acme")
    page.press("Create the tenant")
    page.says("acme")
    page.press("Create a tenant")
    page.write("Name", "acme")
    page.press("Create the tenant")
    page.says("There is a tenant `acme` already")
    page.complaints(["/api/v1/tenants"])
    page.press("Cancel")
    page.open("/operator/models")
    page.press("Add a model")
    page.write("Source", STARTER)
    page.write("Name", "second")
    page.check()
    page.press("Add the model")
    page.until(lambda: [row for row in page.driver.find_elements(By.CSS_SELECTOR, "table[aria-label=Models] tbody th") if row.text == "second"], "the model")
    page.press("Details of second")
    page.check()
    page.press("Remove")
    page.press("Remove the model")
    page.until(lambda: "second" not in [row.text for row in page.driver.find_elements(By.CSS_SELECTOR, "table[aria-label=Models] tbody th")], "it is gone")


def phone(page):
    """The menu of a phone opens, closes with Escape and leads on."""
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True})
    page.open("/keys")
    page.press("Menu")
    page.until(lambda: page.find("a", "Account"), "the menu")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: page.driver.switch_to.active_element.get_attribute("aria-label") == "Menu", "the focus is back")
    page.press("Menu")
    page.press("Account")
    page.until(lambda: page.driver.current_url == BASE + "/account", "the page")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def theme(page):
    """A chosen theme is kept."""
    page.open("/account")
    before = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    for _ in range(2):
        page.driver.find_element(By.CSS_SELECTOR, ".side button[aria-label$='change it']").click()
    page.driver.refresh()
    page.settle()
    assert page.driver.execute_script("return document.documentElement.dataset.theme") == "dark"
    page.driver.execute_script("localStorage.clear()")
    page.driver.refresh()
    page.settle()
    assert page.driver.execute_script("return getComputedStyle(document.body).backgroundColor") == before


def leave(page):
    page.press("Sign out")
    page.until(lambda: "/login" in page.driver.current_url, "signed out")
    assert page.driver.execute_script("return sessionStorage.length") == 0
    page.open("/keys")
    assert "/login" in page.driver.current_url
    # A key that ends while somebody is signed in with it leads back to the door.
    page.driver.execute_script("sessionStorage.setItem('freehold.key', 'fh-gone')")
    page.open("/keys")
    assert "/login" in page.driver.current_url
    page.complaints(["/api/v1/whoami"])


driver = start()
try:
    tab = Page(driver)
    stranger(tab)
    keys(tab)
    chat(tab)
    stored(tab)
    visit(tab, CUSTOMER)
    operate(tab)
    visit(tab, OPERATOR)
    phone(tab)
    theme(tab)
    leave(tab)
finally:
    driver.quit()
print("ok")
