"use strict";

// Counts the figures that the browser has really decoded: a page that lost one can be told from outside.
const root = document.documentElement;
const drawn = [...document.querySelectorAll("figure svg")].filter((svg) => svg.getBBox().width > 0).length;
addEventListener("load", () => {
  const decoded = [...document.querySelectorAll("figure img")].filter((img) => img.naturalWidth > 0).length;
  root.dataset.figures = document.querySelectorAll("figure").length;
  root.dataset.figuresLoaded = drawn + decoded;
});

// Tabs: without this script, and on paper, the panels follow each other under their labels.
for (const tabs of document.querySelectorAll(".tabs")) {
  const panels = [...tabs.children];
  const list = document.createElement("div");
  list.className = "tablist";
  list.setAttribute("role", "tablist");
  const buttons = panels.map((panel) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = panel.querySelector(".label").textContent;
    button.id = panel.id + "-tab";
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    list.append(button);
    return button;
  });
  const select = (chosen) => panels.forEach((panel, index) => {
    panel.classList.toggle("closed", index !== chosen);
    buttons[index].setAttribute("aria-selected", String(index === chosen));
    buttons[index].tabIndex = index === chosen ? 0 : -1;
  });
  buttons.forEach((button, index) => button.addEventListener("click", () => select(index)));
  list.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const next = (buttons.indexOf(document.activeElement) + move + buttons.length) % buttons.length;
    select(next);
    buttons[next].focus();
  });
  tabs.prepend(list);
  tabs.classList.add("ready");
  select(0);
}

// A link to a section opens it, one to a figure in a closed tab the tab.
const reveal = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target && (target.closest("details") || target.querySelector(":scope > details"));
  if (fold) fold.open = true;
  for (let panel = target && target.closest(".panel.closed"); panel; panel = target.closest(".panel.closed"))
    document.getElementById(panel.id + "-tab").click();
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", reveal);
for (const link of document.querySelectorAll("nav a"))
  link.addEventListener("click", () => { if (link.hash === location.hash) reveal(); });
if (location.hash) reveal();

// Enlarge a figure; a click or Escape closes it.
const zoom = document.querySelector(".zoom");
zoom.addEventListener("click", () => zoom.close());
for (const card of document.querySelectorAll(".card")) {
  const enlarge = () => {
    if (!getSelection().isCollapsed) return;
    zoom.firstElementChild.replaceChildren(card.querySelector("img, svg").cloneNode(true));
    zoom.showModal();
  };
  card.querySelector(".media").addEventListener("click", enlarge);
  card.querySelector(".enlarge").addEventListener("click", enlarge);
}

for (const code of document.querySelectorAll(".code")) {
  const button = code.querySelector("button");
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(code.querySelector("code"));
    try {
      await navigator.clipboard.writeText(code.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {
      button.textContent = "Selected"; // no clipboard here: the text is selected, to be copied by hand
    }
  });
}

// The contents mark where the reader is.
const links = [...document.querySelectorAll("nav a")];
const mark = () => {
  const passed = links.filter((link) => document.querySelector(link.hash).getBoundingClientRect().top < 140);
  links.forEach((link) => link.classList.toggle("here", link === passed.at(-1)));
};
addEventListener("scroll", mark, { passive: true });
mark();
