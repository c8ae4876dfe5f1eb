// Colours of sets of classes. A label is one byte a pixel: bit k stands for class k, 0 for ignored.

const IGNORED = [150, 150, 150];

export const DIFFERENCE = [
  ["agree", null],
  ["cloud in the prediction only", [235, 110, 20]],
  ["cloud in the label only", [60, 160, 235]],
  ["another class", [220, 90, 200]],
  ["not counted", [90, 90, 90]],
];

const CLOUD = 0b000110;

const packed = ([red, green, blue], alpha = 255) =>
  ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

export const membersOf = (set) => [0, 1, 2, 3, 4, 5].filter((code) => (set >> code) & 1);

// One colour a set: that of its first class, tinted by the others, so that sets stay apart.
export function setColours(classes, hidden) {
  const table = new Uint32Array(256);
  table[0] = hidden.has("ignored") ? 0 : packed(IGNORED);
  for (let set = 1; set < 64; set++) {
    const [first, ...others] = membersOf(set);
    if (hidden.has(first)) continue;
    const colour = classes[first].colour.map((value, channel) => {
      if (!others.length) return value;
      const sum = others.reduce((total, code) => total + classes[code].colour[channel], 0);
      return Math.round(0.7 * value + (0.3 * sum) / others.length);
    });
    table[set] = packed(colour);
  }
  return table;
}

export const ignoredColour = IGNORED;

// For each pair of label and prediction (label * 64 + prediction) the colour of their difference.
export function differenceColours() {
  const [, only, missed, other, uncounted] = DIFFERENCE.map(([, colour]) => colour);
  const table = new Uint32Array(64 * 64);
  for (let label = 0; label < 64; label++) {
    for (let prediction = 0; prediction < 64; prediction++) {
      table[label * 64 + prediction] = pairColour(label, prediction, only, missed, other, uncounted);
    }
  }
  return table;
}

function pairColour(label, prediction, only, missed, other, uncounted) {
  if (!label || !prediction) return packed(uncounted);
  if (label & prediction) return 0;
  const inLabel = (label & ~CLOUD) === 0;
  const inPrediction = (prediction & ~CLOUD) === 0;
  if (inPrediction && !(label & CLOUD)) return packed(only);
  if (inLabel && !(prediction & CLOUD)) return packed(missed);
  return packed(other);
}

export const namesOf = (set, classes) =>
  set ? membersOf(set).map((code) => classes[code].name).join(" or ") : "ignored";
