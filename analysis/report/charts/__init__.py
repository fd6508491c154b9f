"""What the interactive charts of a page show, as values; `page/charts.js` draws them."""
