// The viewer: NiiVue draws; this file loads cases, moves the crosshair and says what lies there.
"use strict";
(() => {
  const part = (name) => document.getElementById(`viewer-${name}`);
  const data = JSON.parse(part("data").textContent);
  const canvas = part("canvas");
  const axes = ["x", "y", "z"].map((axis) => part(axis));
  const overlays = Array.from(document.querySelectorAll("input[name=viewer-overlay]"));
  const names = new Map(data.labels.map((label) => [label.value, label.name]));
  const differences = [
    { value: 1, name: "missed", colour: "#ff5a5a" },
    { value: 2, name: "added", colour: "#ffd23f" },
    { value: 3, name: "another label", colour: "#d07bff" },
  ];
  const OPACITY = 0.55;
  let library = null;
  let shown = null;
  let loading = Promise.resolve();

  const colourMap = (labels) => {
    const channel = (start) => labels.map((l) => parseInt(l.colour.slice(start, start + 2), 16));
    return {
      R: channel(1), G: channel(3), B: channel(5),
      A: labels.map((label) => (label.value === 0 ? 0 : 255)),
      I: labels.map((label) => label.value),
      labels: labels.map((label) => label.name),
    };
  };

  const apply = (matrix, point) =>
    matrix.map((row) => row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3]);

  const start = async () => {
    // NiiVue itself would open a dialog
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("no WebGL 2");
    const viewer = new niivue.Niivue({
      logLevel: "error", dragAndDropEnabled: false, isRadiologicalConvention: true,
      loadingText: "", crosshairColor: [1, 1, 1, 0.7], crosshairGap: 4, crosshairWidth: 0.2,
      crosshairWidthUnit: "voxels", fontColor: [0.9, 0.9, 0.9, 1], backColor: [0, 0, 0, 1],
      multiplanarShowRender: 0, scrollRequiresFocus: true, isNearestInterpolation: true,
    });
    await viewer.attachToCanvas(canvas);
    viewer.onLocationChange = (place) => report(place.mm);
    return viewer;
  };

  // ---- reading ----

  const labelAt = (volume, voxel) => {
    const [x, y, z] = voxel.map((index, axis) => index - shown.entry.offset[axis]);
    const [width, height] = shown.entry.shape;
    return volume.img[x + width * (y + height * z)];
  };

  const isInside = (voxel) =>
    voxel.every((index, axis) => {
      const place = index - shown.entry.offset[axis];
      return place >= 0 && place < shown.entry.shape[axis];
    });

  const report = (mm) => {
    if (!shown) return;
    const voxel = apply(shown.entry.to_voxel, mm).map(Math.round);
    if (!isInside(voxel)) return;
    shown.voxel = voxel;
    voxel.forEach((index, axis) => { axes[axis].value = index; });
    const grey = labelAt(shown.image, voxel) * shown.image.hdr.scl_slope + shown.image.hdr.scl_inter;
    const millimetres = apply(shown.entry.to_mm, voxel).map((length) => length.toFixed(1));
    const place = shown.entry.is_flat ? "" : ` · mm (R, A, S) ${millimetres.join(", ")}`;
    part("readout").textContent =
      `voxel ${voxel.join(", ")}${place} · image ${+grey.toPrecision(4)}` +
      ` · reference: ${names.get(labelAt(shown.reference, voxel))}` +
      ` · prediction: ${names.get(labelAt(shown.prediction, voxel))}`;
  };

  const goTo = (voxel) => {
    if (!shown) return;
    const kept = voxel.map((index, axis) => {
      const first = shown.entry.offset[axis];
      return Math.min(Math.max(index, first), first + shown.entry.shape[axis] - 1);
    });
    const mm = apply(shown.entry.to_mm, kept);
    library.scene.crosshairPos = library.mm2frac(mm, 0, true); // true: the oblique grid itself
    library.drawScene();
    report(mm);
  };

  // ---- loading ----

  const volume = async (content, settings) => {
    const loaded = await niivue.NVImage.loadFromBase64({
      base64: content, name: "volume.nii.gz", ...settings,
    });
    library.addVolume(loaded);
    return loaded;
  };

  const overlay = async (content, labels) => {
    const top = Math.max(...labels.map((label) => label.value));
    const loaded = await niivue.NVImage.loadFromBase64({
      base64: content, name: "labels.nii.gz", opacity: 0, cal_min: 0, cal_max: top,
    });
    loaded.setColormapLabel(colourMap(labels));
    return loaded;
  };

  const markDifferences = (target, reference, prediction) => {
    for (let place = 0; place < target.img.length; place += 1) {
      const [truth, said] = [reference.img[place], prediction.img[place]];
      target.img[place] = truth === said ? 0 : said === 0 ? 1 : truth === 0 ? 2 : 3;
    }
  };

  const load = async (entry) => {
    part("readout").textContent = "loading …";
    library ??= await start();
    while (library.volumes.length) library.removeVolume(library.volumes.at(-1));
    shown = null;
    const [low, high] = entry.window;
    const image = await volume(entry.image, { colormap: "gray", cal_min: low, cal_max: high });
    const reference = await overlay(entry.reference, data.labels);
    const prediction = await overlay(entry.prediction, data.labels);
    const nothing = { value: 0, name: "same", colour: "#000000" };
    const differing = await overlay(entry.prediction, [nothing, ...differences]);
    markDifferences(differing, reference, prediction);
    [reference, prediction, differing].forEach((one) => library.addVolume(one));
    shown = { entry, image, reference, prediction, voxel: entry.start };
    axes.forEach((field, axis) => {
      field.min = entry.offset[axis];
      field.max = entry.offset[axis] + entry.shape[axis] - 1;
    });
    showPlane();
    showOverlay();
    goTo(entry.start);
  };

  const open = (name) => {
    const entry = data.cases.find((one) => one.case === name);
    part("case").value = name;
    // one after the other, so that a quick second choice does not mix two cases
    loading = loading.then(() => load(entry)).catch((error) => {
      part("readout").textContent =
        `This browser cannot show the volumes (${error.message ?? error}). The pictures below do not need it.`;
    });
    return loading;
  };

  // ---- showing ----

  const showOverlay = () => {
    if (!shown) return;
    const chosen = overlays.find((button) => button.checked).value;
    ["reference", "prediction", "differences"].forEach((name, place) => {
      library.setOpacity(place + 1, name === chosen ? OPACITY : 0);
    });
    const entries = chosen === "differences" ? differences : data.labels.filter((l) => l.value > 0);
    part("legend").replaceChildren(...(chosen === "none" ? [] : entries).map((label) => {
      const item = document.createElement("li");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = label.colour;
      item.append(swatch, label.name);
      return item;
    }));
  };

  const showPlane = () => {
    if (!shown) return;
    const planes = { all: 3, axial: 0, coronal: 1, sagittal: 2, volume: 4 };
    // a picture has one plane, and no body around it
    const chosen = shown.entry.is_flat ? "axial" : part("plane").value;
    part("plane").disabled = shown.entry.is_flat;
    library.opts.isOrientationTextVisible = !shown.entry.is_flat;
    library.setSliceType(planes[chosen]);
    library.setOpacity(0, chosen === "volume" ? 0 : 1);
  };

  const steps = {
    ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0],
    PageUp: [0, 0, 1], PageDown: [0, 0, -1],
  };

  // caught before NiiVue's own shortcuts, which would change the picture without a visible control
  part("stage").addEventListener("keydown", (event) => {
    if (event.key === "Tab") return;
    event.stopPropagation();
    if (event.key in steps && shown) {
      event.preventDefault();
      goTo(shown.voxel.map((index, axis) => index + steps[event.key][axis]));
    } else if (overlays[Number(event.key) - 1]) {
      overlays[Number(event.key) - 1].checked = true;
      showOverlay();
    }
  }, true);
  axes.forEach((field) => field.addEventListener("change", () => {
    goTo(axes.map((one) => Math.round(Number(one.value))));
  }));
  overlays.forEach((button) => button.addEventListener("change", showOverlay));
  part("plane").addEventListener("change", showPlane);
  part("case").addEventListener("change", () => open(part("case").value));
  document.querySelectorAll("button[data-view]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => {
      open(button.dataset.view);
      part("section").scrollIntoView({ block: "start" });
      canvas.focus({ preventScroll: true });
    });
  });
  part("controls").hidden = false;
  // the first case is loaded when its place comes into sight, so that the page itself opens at once
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    if (!library) open(part("case").value);
  }).observe(part("stage"));
})();
