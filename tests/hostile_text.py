"""A text that would run where it is not escaped."""

HOSTILE = (
    "<img src=x onerror=\"window.wasRun=1\"></script><script>window.wasRun=1</script><!-- <b>bold</b> & 'quotes'"
    "\u2028{{ 7 * 7 }}"
)
