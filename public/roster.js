// What makes the pages nicer. Everything works without it.

// A button says what is going on while its form is on its way, at the same width, and goes only once.
document.addEventListener('submit', (event) => {
  const button = event.submitter
  if (!button?.dataset.busy) return
  if (button.getAttribute('aria-busy') === 'true') return event.preventDefault()
  button.style.setProperty('min-inline-size', `${button.offsetWidth}px`)
  button.dataset.label = button.textContent
  button.textContent = button.dataset.busy
  button.setAttribute('aria-busy', 'true')
})

// A page that comes back from the browser's store is not on its way any more.
addEventListener('pageshow', () => {
  for (const button of document.querySelectorAll('[aria-busy="true"]')) {
    button.textContent = button.dataset.label
    button.removeAttribute('aria-busy')
  }
})

document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]')
  if (!button) return
  await navigator.clipboard.writeText(button.previousElementSibling.textContent)
  const label = button.textContent
  button.textContent = button.dataset.copy
  setTimeout(() => {
    button.textContent = label
  }, 2000)
})

// Ctrl or ⌘ K goes to the search; a list filters as one types.
document.addEventListener('keydown', (event) => {
  if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey)) return
  const search = document.querySelector('input[type="search"]')
  if (!search) return
  event.preventDefault()
  search.focus()
  search.select()
})

const search = document.querySelector('input[data-live]')
if (search) {
  if (location.hash === '#q') {
    search.focus()
    search.setSelectionRange(search.value.length, search.value.length)
  }
  let timer
  search.addEventListener('input', () => {
    clearTimeout(timer)
    timer = setTimeout(filter, 400)
  })
  function filter() {
    const text = search.value.trim()
    if (text.length > 0 && text.length < 3) return
    const url = new URL(search.form.action)
    for (const [name, value] of new FormData(search.form)) if (value) url.searchParams.set(name, value)
    url.hash = 'q'
    location.replace(url)
  }
}

// How many of a list are chosen.
document.addEventListener('change', (event) => {
  const form = event.target.closest?.('form')
  const count = form?.querySelector('[data-selected]')
  if (count)
    count.textContent = count.dataset.selected.replace('#', form.querySelectorAll('.pick :checked').length)
})
document.addEventListener('reset', (event) => {
  const count = event.target.querySelector('[data-selected]')
  if (count) setTimeout(() => count.dispatchEvent(new Event('change', { bubbles: true })))
})

// A form that only takes an answer on to an app presses its own button.
document.querySelector('form[data-submits]')?.requestSubmit()
