// Requests to the server that gave this page. What changes something carries a header of ours.

const OURS = { "x-nubila-review": "1" };

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Error("the server does not answer; is nubila review still running?");
  }
  if (response.ok) return response;
  const text = await response.text();
  let reason = text;
  try {
    const { detail } = JSON.parse(text);
    reason = typeof detail === "string" ? detail : JSON.stringify(detail);
  } catch {
    // Plain text, as it came.
  }
  throw new Error(reason || `the server answered ${response.status}`);
}

export const getJson = async (path) => (await request(path)).json();

export const getBytes = async (path) => new Uint8Array(await (await request(path)).arrayBuffer());

export async function getBitmap(path) {
  const blob = await (await request(path)).blob();
  // Decoded as it is: the wand compares these values.
  return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

export async function post(path, body) {
  const headers = { ...OURS, "content-type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body ?? {}) })).json();
}

export async function putBytes(path, bytes) {
  const headers = { ...OURS, "content-type": "application/octet-stream" };
  return (await request(path, { method: "PUT", headers, body: bytes })).json();
}

export const remove = async (path) =>
  (await request(path, { method: "DELETE", headers: OURS })).json();
