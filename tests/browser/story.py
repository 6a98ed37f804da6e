"""The story of a customer in Chromium, without a mouse: sign up, confirm the mail, make a key, chat, see the spend."""

import os
import re

from page import Keyboard, amount, ask, mail_link, start
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

MODEL = os.environ["FREEHOLD_TEST_MODEL"]
ADDRESS = "ada@example.org"
PASSWORD = "a long walk on the beach"


def sign_up(page):
    page.open("/")
    page.check()
    page.press("Sign up")
    page.says("Already have an account?")
    page.write("Your name", "Ada Lovelace")
    page.write("E-mail", ADDRESS)
    page.write("Password", "short")
    page.press("Sign up")
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, "[aria-invalid=true]"), "the password is too short")
    page.write("Password", PASSWORD)
    page.write("Team or company", "analytics")
    page.check()
    page.press("Sign up")
    page.says("Look into your mail")
    page.check()


def confirm(page):
    page.driver.get(mail_link("verify"))
    page.says("Confirm your address")
    assert "#" not in page.driver.current_url, page.driver.current_url
    page.check()
    page.write("Password", "not the password")
    page.press("Confirm")
    page.says("That did not work")
    page.complaints(["/api/v1/signup/verify"])
    page.write("Password", PASSWORD)
    page.press("Confirm")
    page.says("Your address is confirmed")
    page.check()


def log_in(page, password=PASSWORD):
    page.open("/login")
    page.write("E-mail", ADDRESS)
    page.write("Password", "not the password")
    page.type(Keys.ENTER)
    page.says("That did not work")
    page.complaints(["/api/v1/session"])
    page.write("Password", password)
    page.type(Keys.ENTER)
    page.says("Welcome to analytics")
    page.check()


def make_key(page):
    page.press("Create a key")
    page.write("Name", "backend")
    page.press("Create the key")
    secret = page.secret()
    assert ask("/v1/models", secret) == 200
    page.check()
    page.press("Keys")
    page.says("Keys of analytics")
    page.says("backend")
    assert secret not in page.driver.page_source
    page.check()
    return secret


WATCH = """
window.pieceByPiece = false;
new MutationObserver(() => {
  const said = document.querySelector(".turn.assistant .said");
  if (said?.textContent && !document.querySelector(".turn.assistant .facts")) window.pieceByPiece = true;
}).observe(document.body, { subtree: true, childList: true, characterData: true });
"""


def chat(page):
    page.press("Playground")
    page.choose("Model", MODEL)
    page.write("Message", "Tell me about the sea.")
    # The answer is there piece by piece: its beginning before its end.
    page.driver.execute_script(WATCH)
    page.type(Keys.ENTER)
    said = ".turn.assistant .said"
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, said) and page.driver.find_element(By.CSS_SELECTOR, said).text, "the beginning of the answer")
    facts = page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".turn.assistant .facts"), "the end of the answer")[0].text
    assert page.driver.execute_script("return window.pieceByPiece"), "the answer came at once"
    assert re.search(r"\d+ out", facts), facts
    page.check()


def spend(page):
    page.press("Usage and spend")
    page.says("Spend by day and model")
    page.says(MODEL)
    spent = amount(page.figure("Spend")[1])
    assert spent > 0
    bars = [bar.get_attribute("textContent") for bar in page.driver.find_elements(By.CSS_SELECTOR, ".plot svg .bar")]
    assert any(MODEL in bar for bar in bars), f"the plot has {bars}"
    page.check()
    page.press("Billing")
    page.says("sign-up")
    left = amount(page.figure("Balance")[1])
    assert abs(left + spent - 5) < 1e-9, f"{left} is left of 5 after {spent}"
    page.check()
    for name in ("Limits and budgets", "Team", "Audit trail", "Prices", "Start"):
        page.press(name)
        page.until(lambda: page.driver.title.startswith(name), name)
        page.check()


def new_password(page):
    """Known, it is changed; forgotten, it is set by mail."""
    page.press("Account")
    page.press("Change the password")
    page.write("Password until now", "not the password")
    page.write("New password", PASSWORD.upper())
    page.write("The new password again", PASSWORD)
    page.type(Keys.ENTER)
    page.says("are not the same")
    page.write("The new password again", PASSWORD.upper())
    page.type(Keys.ENTER)
    page.says("This is not your password until now")
    page.complaints(["/api/v1/password/change"])
    page.check()
    page.write("Password until now", PASSWORD)
    page.type(Keys.ENTER)
    page.says("Your password is new")
    page.driver.refresh()
    page.says("Ada Lovelace")
    page.press("Sign out everywhere")
    page.says("Every session of yours ends")
    page.press("Sign out everywhere")
    page.until(lambda: "/login" in page.driver.current_url, "signed out")
    log_in(page, PASSWORD.upper())
    page.press("Sign out")
    page.until(lambda: "/login" in page.driver.current_url, "signed out")
    page.press("Forgot your password?")
    page.write("E-mail", ADDRESS)
    page.press("Send me a link")
    page.says("Look into your mail")
    page.driver.get(mail_link("reset"))
    page.write("Password", PASSWORD[::-1])
    page.press("Set the password")
    page.says("Your password is new")
    page.check()
    log_in(page, PASSWORD[::-1])


driver = start()
try:
    tab = Keyboard(driver)
    sign_up(tab)
    confirm(tab)
    log_in(tab)
    make_key(tab)
    chat(tab)
    spend(tab)
    new_password(tab)
    tab.complaints()
finally:
    driver.quit()
print("ok")
