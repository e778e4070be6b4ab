// Three sentences for who opens the app for the first time. This browser remembers that
// they were put away.

const KEY = "cellularity.tour";

export default function ({ parentElement: root, data }) {
  const tour = root.querySelector(".tour");
  let seen = null;
  try { seen = localStorage.getItem(KEY); } catch { /* without storage it comes back */ }
  tour.querySelector("ol").replaceChildren(...data.steps.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  tour.querySelector("button").onclick = () => {
    tour.hidden = true;
    try { localStorage.setItem(KEY, "seen"); } catch { /* as above */ }
  };
  tour.hidden = seen !== null;
}
