(() => {
  const live = document.createElement('p');
  live.className = 'vh';
  live.setAttribute('aria-live', 'polite');
  document.body.append(live);
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement('textarea');
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    live.textContent = 'copied';
  };
  for (const pre of document.querySelectorAll('pre.cmd')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Copy';
    button.setAttribute('aria-label', `Copy: ${pre.getAttribute('aria-label')}`);
    button.addEventListener('click', () => copy(pre.textContent));
    pre.previousElementSibling.append(' ', button);
  }
})();
