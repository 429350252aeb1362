/** See page.js, which is checked by itself: it runs where there is a DOM. */
export function drawPage(): void
