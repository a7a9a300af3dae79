"use strict";
(() => {
  const tip = document.getElementById("tip");

  const save = (name, type, content) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const csv = (table) => {
    // A spreadsheet computes what begins like a formula; numbers are none.
    const plain = (text) => (/^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const line = (row) => [...row.cells].map((cell) => quoted(plain(cell.textContent))).join(",");
    return [...table.rows].map(line).join("\n") + "\n";
  };

  const png = (svg, name) => {
    const image = new Image();
    const { width, height } = svg.viewBox.baseVal;
    image.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [2 * width, 2 * height];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(name, "image/png", blob));
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg.outerHTML);
  };

  const show = (target, x, y) => {
    tip.textContent = target.dataset.value;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 4))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18}px`;
  };
  const hide = () => { tip.hidden = true; };

  for (const figure of document.querySelectorAll("figure")) {
    const svg = figure.querySelector("svg");
    const original = svg.cloneNode(true);
    const title = svg.querySelector("title").textContent;
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", `${title}. ${svg.querySelector("desc").textContent} Arrow keys show values.`);
    svg.setAttribute("tabindex", "0");
    svg.querySelector("title").remove();

    const values = [...svg.querySelectorAll(".value")];
    for (const value of values) {
      value.dataset.value = value.querySelector("title").textContent;
      value.querySelector("title").remove();
      value.addEventListener("pointermove", (event) => show(value, event.clientX, event.clientY));
      value.addEventListener("pointerdown", (event) => show(value, event.clientX, event.clientY));
      value.addEventListener("pointerleave", hide);
    }
    let at = -1;
    const mark = (index) => {
      values[at]?.classList.remove("shown");
      at = index;
      const value = values[at];
      if (!value) return hide();
      value.classList.add("shown");
      const box = value.getBoundingClientRect();
      show(value, box.left + box.width / 2, box.top + box.height / 2);
    };
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step && values.length) {
        event.preventDefault();
        let next = at;
        do { next = (next + step + values.length) % values.length; } while (values[next].closest(".hidden") && next !== at);
        mark(next);
      } else if (event.key === "Escape") {
        mark(-1);
      }
    });
    svg.addEventListener("blur", () => mark(-1));

    for (const entry of svg.querySelectorAll(".legend")) {
      const series = [...svg.querySelectorAll(".series")].find((one) => one.dataset.series === entry.dataset.series);
      if (!series) continue;
      entry.setAttribute("role", "button");
      entry.setAttribute("tabindex", "0");
      entry.setAttribute("aria-pressed", "true");
      entry.setAttribute("aria-label", `Show ${entry.dataset.name}`);
      const toggle = () => {
        const isHidden = series.classList.toggle("hidden");
        entry.setAttribute("aria-pressed", String(!isHidden));
      };
      entry.addEventListener("click", toggle);
      entry.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          event.stopPropagation();
          toggle();
        }
      });
    }

    const saving = figure.querySelector(".saving");
    saving.hidden = false;
    for (const button of saving.querySelectorAll(".save")) {
      button.setAttribute("aria-label", `Save ${title} as ${button.textContent}`);
      button.addEventListener("click", () => {
        const name = `${figure.dataset.name}.${button.dataset.save}`;
        if (button.dataset.save === "svg") save(name, "image/svg+xml", original.outerHTML);
        if (button.dataset.save === "png") png(original, name);
        if (button.dataset.save === "csv") save(name, "text/csv", csv(figure.querySelector("table.values")));
      });
    }
  }

  for (const choice of document.querySelectorAll(".choice")) {
    const options = [...choice.children].filter((child) => child.classList.contains("option"));
    const select = choice.querySelector("select");
    const update = () => options.forEach((option, index) => { option.hidden = index !== select.selectedIndex; });
    choice.querySelector(".chooser").hidden = false;
    select.addEventListener("change", update);
    update();
  }

  const all = document.querySelector("footer .save");
  all.hidden = false;
  all.addEventListener("click", () => {
    const data = JSON.parse(document.getElementById("data").textContent);
    save("report.json", "application/json", JSON.stringify(data, null, 2) + "\n");
  });
})();
