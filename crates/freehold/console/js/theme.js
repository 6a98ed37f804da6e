// Sets the chosen theme before the first paint; without a choice the system decides.
{
  let theme = null;
  try {
    theme = localStorage.getItem("freehold.theme");
  } catch {
    // Storage is switched off: the system's choice stands.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
