// Unpacks the page's maps: deflate, then differences, then a cubic spline if not every pixel was kept.

async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}

// every code was stored minus its left neighbour, then minus the same difference in the row above
function sumDifferences(codes, height, width) {
  for (let row = 0; row < height; row += 1) {
    let left = 0;
    for (let at = row * width; at < (row + 1) * width; at += 1) {
      left += codes[at];
      codes[at] = left + (row ? codes[at - width] : 0); // a byte array wraps around at 256
    }
  }
}

// the four coefficients of every pixel, and their weights
function splineTaps(pixels, count) {
  const from = new Int32Array(4 * pixels);
  const share = new Float64Array(4 * pixels);
  for (let pixel = 0; pixel < pixels; pixel += 1) {
    const where = ((pixel + 0.5) * count) / pixels - 0.5;
    const first = Math.floor(where);
    const t = where - first;
    const weights = [(1 - t) ** 3, 3 * t ** 3 - 6 * t ** 2 + 4, -3 * t ** 3 + 3 * t ** 2 + 3 * t + 1, t ** 3];
    weights.forEach((weight, step) => {
      from[4 * pixel + step] = Math.min(Math.max(first - 1 + step, 0), count - 1);
      share[4 * pixel + step] = weight / 6;
    });
  }
  return { from, share };
}

function splineOf([rows, cols], [height, width]) {
  const down = splineTaps(height, rows);
  const across = splineTaps(width, cols);
  const wide = new Float64Array(rows * width);
  return (codes, low, step) => {
    for (let row = 0; row < rows; row += 1) {
      for (let x = 0; x < width; x += 1) {
        let sum = 0;
        for (let tap = 4 * x; tap < 4 * x + 4; tap += 1) sum += across.share[tap] * codes[row * cols + across.from[tap]];
        wide[row * width + x] = low + step * sum;
      }
    }
    const heat = new Uint8Array(height * width);
    for (let y = 0; y < height; y += 1) {
      const [a, b, c, d] = down.from.subarray(4 * y, 4 * y + 4).map((row) => row * width);
      const [p, q, r, s] = down.share.subarray(4 * y, 4 * y + 4);
      for (let x = 0; x < width; x += 1) {
        const level = p * wide[a + x] + q * wide[b + x] + r * wide[c + x] + s * wide[d + x] + 0.5;
        heat[y * width + x] = Math.min(Math.max(level, 0), 255);
      }
    }
    return heat;
  };
}

// float32 from its upper bytes: all first bytes come first
function floatsOf(bytes, count, kept) {
  const bits = new Uint32Array(count);
  for (let part = 0; part < kept; part += 1) {
    for (let at = 0; at < count; at += 1) bits[at] |= bytes[part * count + at] << (24 - 8 * part);
  }
  return new Float32Array(bits.buffer);
}

// takes { samples, size, exact, valueBytes, grid } and the texts of the blocks; gives a function of sheet and number of maps
function unpackerOf({ samples, size, exact, valueBytes, grid }, texts) {
  const [height, width] = samples;
  const pixels = height * width;
  const patches = grid[0] * grid[1];
  const spline = exact ? null : splineOf(samples, size);
  const kept = new Map();

  const unpack = async (sheet, maps) => {
    const content = await inflate(texts[sheet]);
    const scales = new DataView(content, 0, 8 * maps);
    const codes = new Uint8Array(content, 8 * maps, maps * pixels);
    const one = (map) => codes.subarray(map * pixels, (map + 1) * pixels);
    for (let map = 0; map < maps; map += 1) sumDifferences(one(map), height, width);
    const rest = new Uint8Array(content, maps * (8 + pixels));
    const values = valueBytes ? floatsOf(rest, maps * patches, valueBytes) : null;
    return {
      heat: (map) => {
        if (exact) return one(map);
        return spline(one(map), scales.getFloat32(8 * map, true), scales.getFloat32(8 * map + 4, true));
      },
      values: (map) => values && values.subarray(map * patches, (map + 1) * patches),
    };
  };

  return (sheet, maps) => {
    if (!kept.has(sheet)) kept.set(sheet, unpack(sheet, maps));
    return kept.get(sheet);
  };
}
