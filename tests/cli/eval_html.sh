# The report is one page that hostile names cannot break out of; a real browser reads it.
python3 "$SUPPORT/make_logits.py" reference.safetensors 0 4 '</td></script><script>document.title="broken"</script>'
python3 "$SUPPORT/make_logits.py" candidate.safetensors 0.3 4 '</td></script><script>document.title="broken"</script>' \
  '"><img src=x onerror=alert(1)></style><b>'
mlxmill eval candidate.safetensors --reference reference.safetensors --html report.html --quiet > out
has report.html '^<!doctype html>'
has_not report.html '<script|<img|<link|https?://'
has report.html '&lt;/script&gt;&lt;script&gt;'
python3 - <<'PYTHON'
import html.parser
class Check(html.parser.HTMLParser):
    """Every element that is opened is closed, in order."""
    void = {"meta", "line", "rect", "circle", "polyline", "br"}
    stack = []
    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "img", "b") or (tag == "b" and self.stack[-1] in ("li", "span")), tag
        if tag not in self.void:
            self.stack.append(tag)
    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.stack.pop() == tag, tag
check = Check()
check.feed(open("report.html", encoding="utf-8").read())
check.close()
assert not check.stack, check.stack
PYTHON
browser=
for name in chromium chromium-browser google-chrome; do
  command -v "$name" > /dev/null 2>&1 && browser=$name && break
done
[ -n "$browser" ] || skip "no Chromium here: the page was checked without a browser"
"$browser" --headless --no-sandbox --disable-gpu --user-data-dir=profile --dump-dom "file://$PWD/report.html" \
  > dom 2> browser_err || { cat browser_err >&2; fail "$browser"; }
has dom '<title>.*img src=x'
has_not dom '<title>broken|<script|<img'
[ "$(grep -c '<svg' dom)" -ge 2 ]
for size in 1000,2400 390,2400; do
  "$browser" --headless --no-sandbox --disable-gpu --user-data-dir=profile --window-size="$size" \
    --screenshot="shot.png" "file://$PWD/report.html" > browser_out 2>&1
  [ "$(wc -c < shot.png)" -gt 20000 ] || fail "an empty picture at $size"
done
