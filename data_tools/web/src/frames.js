// What a brief presentation shows: pictures whole on grey, and masks that cover just what a picture covered.
const LONGEST = 1024; // pixels; more is not seen
const GRAIN = 16; // blocks along a mask's side

// The size of the smallest frame that holds each picture.
export function frameSize(pictures) {
  const sides = ["naturalWidth", "naturalHeight"].map((side) => Math.max(...pictures.map((picture) => picture[side])));
  const scale = Math.min(1, LONGEST / Math.max(...sides));
  const [width, height] = sides.map((side) => Math.max(1, Math.round(side * scale)));
  return { width, height };
}

export function grey(size) {
  const canvas = Object.assign(document.createElement("canvas"), size);
  const context = canvas.getContext("2d");
  context.fillStyle = "#808080";
  context.fillRect(0, 0, size.width, size.height);
  return canvas;
}

export function framed(picture, size) {
  const canvas = grey(size);
  const { context, x, y, width, height } = room(canvas, picture, size);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, x, y, width, height);
  return canvas;
}

// Blocks taken from all pictures: of the same colours, and of nothing, where one picture was.
export function masked(picture, pictures, size) {
  const canvas = grey(size);
  const { context, x, y, width, height } = room(canvas, picture, size);
  context.imageSmoothingEnabled = false;
  const edge = (i, side) => Math.round((i * side) / GRAIN); // whole pixels: no seams
  for (let row = 0; row < GRAIN; row++) {
    for (let column = 0; column < GRAIN; column++) {
      const source = pictures[Math.floor(Math.random() * pictures.length)];
      const block = [source.naturalWidth / GRAIN, source.naturalHeight / GRAIN];
      const from = block.map((side) => Math.floor(Math.random() * GRAIN) * side);
      const to = [edge(column, width), edge(row, height)];
      const end = [edge(column + 1, width), edge(row + 1, height)];
      context.drawImage(source, ...from, ...block, x + to[0], y + to[1], end[0] - to[0], end[1] - to[1]);
    }
  }
  return canvas;
}

// Where a picture goes: whole, in the middle, white where it is transparent.
function room(canvas, { naturalWidth, naturalHeight }, size) {
  const scale = Math.min(size.width / naturalWidth, size.height / naturalHeight);
  const [width, height] = [naturalWidth, naturalHeight].map((side) => Math.max(1, Math.round(side * scale)));
  const [x, y] = [Math.floor((size.width - width) / 2), Math.floor((size.height - height) / 2)];
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(x, y, width, height);
  return { context, x, y, width, height };
}
