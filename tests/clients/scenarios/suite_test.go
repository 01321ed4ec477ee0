package scenarios

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suites are programs that carry out checks of their own, because they are about one client alone: every
// way in which applications use the remoting client of Java, in both versions that are around, with each
// header codec and with the VIP channel on and off; and the starter of Spring Boot.
var suites = []struct {
	name    string
	command []string
}{
	{"java-4.9/json-header/vip-channel", suite("suite-java-4", "apogee.suite.Version4", "JSON", "true")},
	{"java-4.9/binary-header/plain-channel", suite("suite-java-4", "apogee.suite.Version4", "ROCKETMQ", "false")},
	{"java-5/json-header/vip-channel", suite("suite-java-5", "apogee.suite.Version5", "JSON", "true")},
	{"java-5/binary-header/plain-channel", suite("suite-java-5", "apogee.suite.Version5", "ROCKETMQ", "false")},
	{"spring-boot-starter", java("suite-spring", "apogee.suite.Spring")},
}

func suite(folder, main, codec, vip string) []string {
	command := java(folder, main)
	settings := []string{"-Drocketmq.serialize.type=" + codec, "-Dcom.rocketmq.sendMessageWithVIPChannel=" + vip}
	return slices.Insert(command, 1, settings...)
}

// TestSuites does not run beside the scenarios: five virtual machines that start take the processors away
// from clients whose requests may take three seconds.
func TestSuites(t *testing.T) {
	for _, suite := range suites {
		t.Run(suite.name, func(t *testing.T) {
			t.Parallel()
			home := filepath.Join(folder, unique("suite"))
			if err := os.MkdirAll(home, 0o755); err != nil {
				t.Fatal(err)
			}
			// The clients write logs and offsets below the home folder.
			command := slices.Insert(slices.Clone(suite.command), 1, "-Duser.home="+home)
			program := exec.Command(command[0], append(command[1:], shared.Nameserver)...)
			program.Env = append(os.Environ(), "HOME="+home)
			errors := new(bytes.Buffer)
			program.Stderr = errors
			reports, err := program.Output()
			if err != nil {
				t.Errorf("%v; tests/clients/prepare makes it", err)
			}
			reportChecks(t, reports)
			if t.Failed() {
				text := errors.Bytes()
				t.Logf("it said last:\n%s", text[max(0, len(text)-16<<10):])
			}
		})
	}
}

// reportChecks makes a test of every check that a suite reported.
func reportChecks(t *testing.T, reports []byte) {
	t.Helper()
	var planned []string
	came := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(reports))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		kind, rest, _ := strings.Cut(lines.Text(), " ")
		name, _, _ := strings.Cut(rest, "\t")
		if kind == "plan" {
			planned = append(planned, name)
		} else {
			came[name] = lines.Text()
		}
	}
	if len(planned) == 0 {
		t.Error("it planned no check")
	}
	for _, name := range planned {
		t.Run(name, func(t *testing.T) {
			switch report := came[name]; {
			case report == "":
				t.Error("it did not end in time")
			case report != "passed "+name:
				t.Error(strings.ReplaceAll(report, "\t", "\n"))
			}
		})
	}
}
