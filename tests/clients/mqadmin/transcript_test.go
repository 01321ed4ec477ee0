package mqadmin

import (
	"os"
	"path/filepath"
	"strings"
)

// printed is what a command printed.
type printed struct {
	Out string
	Err string
}

// readTranscripts returns what was recorded of each command line.
func readTranscripts(folder string) (map[string]printed, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return nil, err
	}
	recorded := map[string]printed{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		readTranscript(string(text), recorded)
	}
	return recorded, nil
}

func readTranscript(text string, recorded map[string]printed) {
	var command, part string
	for _, line := range strings.Split(text, "\n") {
		run := recorded[command]
		switch {
		case strings.HasPrefix(line, "$ "):
			command, part = strings.TrimPrefix(line, "$ "), ""
			recorded[command] = printed{}
			continue
		case strings.HasPrefix(line, "----- "):
			part = strings.TrimPrefix(line, "----- ")
			continue
		case line == "(no newline at the end)":
			continue
		}
		switch part {
		case "stdout":
			run.Out += line + "\n"
		case "stderr":
			run.Err += line + "\n"
		}
		recorded[command] = run
	}
}
