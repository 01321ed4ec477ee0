package mqadmin

import (
	"regexp"
	"strings"
)

// foreign are topics and groups that the recorded broker had from elsewhere.
var foreign = regexp.MustCompile(`Java[A-Z]|Java498|\bGo[A-Z]|_Go[A-Z]|CG_go_|mxshop|imooc|TransTopic|TutorialTopic`)

// masks take away what differs from run to run, in this order.
var masks = []struct {
	pattern *regexp.Regexp
	mask    string
}{
	{regexp.MustCompile(`\bCODE: (-?\d+)`), "CODE: code$1"},
	{regexp.MustCompile(`\b[0-9A-F]{32,}`), "ID"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[ #]\d\d:\d\d:\d\d([:,]\d+)?`), "TIME"},
	{regexp.MustCompile(`/?127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`/?\b\d+\.\d+\.\d+\.\d+@[\w#]+`), "CLIENT"},
	{regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b`), "IP"},
	{regexp.MustCompile(`\bV5_\d_\d\b`), "VERSION"},
	{regexp.MustCompile(`@[0-9a-f]{5,8}$`), ""},
	{regexp.MustCompile(`^messageListener .*`), "messageListener : LISTENER"},
	{regexp.MustCompile(`\[(\d+, )*\d+\]`), "[BYTES]"},
	{regexp.MustCompile(`(^|[^\w.])-?\d+(\.\d+)?([eE]-?\d+)?`), "${1}N"},
	{regexp.MustCompile(`\bak\d+\b`), "KEY"},
	{regexp.MustCompile(`-{5,}`), "-----"},
	{regexp.MustCompile(`[ \t]+`), " "},
	// Over how many spans a rate is told depends on how long the broker has run.
	{regexp.MustCompile(`(Tps ?: N)( N)+`), "$1"},
	{regexp.MustCompile(`\bN ([KMGT]i)?B\b`), "SIZE"},
}

// lines returns the different lines of a text, masked, and how often each is there.
func lines(text string) map[string]int {
	// From here on threads of the client's process are listed.
	text, _, _ = strings.Cut(text, "#Consumer jstack#")
	different := map[string]int{}
	for _, line := range strings.Split(text, "\n") {
		if foreign.MatchString(line) || isFrame(line) {
			continue
		}
		for _, mask := range masks {
			line = mask.pattern.ReplaceAllString(line, mask.mask)
		}
		if line = strings.TrimSpace(line); line != "" {
			different[line]++
		}
	}
	return different
}

// isFrame tells frames of Java stack traces, which differ with where the tool was started.
func isFrame(line string) bool {
	return strings.HasPrefix(line, "\tat ") || strings.HasPrefix(line, "\t... ")
}
