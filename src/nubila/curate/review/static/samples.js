// Samples as they come from the server, remembered, and fetched before they are asked for.

import { getBitmap, getBytes, getJson } from "./api.js";

const MOST = 14; // samples, and pictures, that are remembered

class Recent {
  #held = new Map();

  get(key, make) {
    let found = this.#held.get(key);
    if (found) {
      this.#held.delete(key);
    } else {
      found = make();
      found.catch(() => this.#held.delete(key));
    }
    this.#held.set(key, found);
    for (const old of this.#held.keys()) {
      if (this.#held.size <= MOST) break;
      this.#held.delete(old);
    }
    return found;
  }

  forget(key) {
    this.#held.delete(key);
  }
}

export class Samples {
  #samples = new Recent();
  #pictures = new Recent();

  // Facts, label and prediction of a sample, and the mask that was drawn, if any.
  sample(number, state) {
    return this.#samples.get(number, async () => {
      const path = `/api/samples/${number}`;
      const [meta, original] = await Promise.all([getJson(path), getBytes(`${path}/label`)]);
      const drawn = ["fix", "prediction"].includes(state.action) && !state.changed.includes("label");
      const [prediction, draft, decided] = await Promise.all([
        meta.prediction ? getBytes(`${path}/prediction`) : null,
        meta.draft ? getBytes(`${path}/draft`) : null,
        drawn ? getBytes(`${path}/decided`) : null,
      ]);
      return { number, ...meta, original, prediction, draft, decided };
    });
  }

  picture(number, bands, stretch) {
    const query = new URLSearchParams({ bands: bands.join(","), stretch });
    const path = `/api/samples/${number}/image?${query}`;
    return this.#pictures.get(path, () => getBitmap(path));
  }

  forget(number) {
    this.#samples.forget(number);
  }
}

// The bands of the picture that is wanted, or of the first that a sample has.
export function bandsOf(sample, wanted) {
  return sample.pictures[wanted] ?? Object.values(sample.pictures)[0];
}
