// Pictures, decoded before they are shown, so that nothing is timed that is not there yet.

export async function loaded(url) {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  return picture;
}
