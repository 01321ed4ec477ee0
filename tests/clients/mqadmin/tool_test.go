package mqadmin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// jars is where tests/clients/prepare puts the tool.
const jars = "../../../target/clients/mqadmin"

// commandTimeout is far more than any command takes.
const commandTimeout = 90 * time.Second

// sentFirst is the first message that the live producer sent.
type sentFirst struct {
	UniqueID string `json:"uniqueId"`
	OffsetID string `json:"offsetId"`
	Queue    string `json:"queue"`
	Offset   string `json:"offset"`
}

// tool is a process that runs commands of the admin tool, beside live clients.
type tool struct {
	orders  io.WriteCloser
	reports chan []byte
	process *exec.Cmd
}

// startTool starts the tool's process in folder, where it finds files and leaves some.
func startTool(t *testing.T, folder, nameserver string) (*tool, sentFirst) {
	t.Helper()
	prepared, err := filepath.Abs(jars)
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(filepath.Join(prepared, "rocketmq-tools-*.jar")); len(found) == 0 {
		t.Fatalf("%s has no rocketmq-tools; run tests/clients/prepare mqadmin", prepared)
	}
	process := exec.Command("java", "-Xmx512m", "-Duser.home="+folder, "-Duser.language=en", "-Duser.timezone=UTC",
		"-cp", prepared+"/*", "apogee.mqadmin.Main", nameserver)
	process.Dir = folder
	// Without its own access key the tool looks for one.
	process.Env = append(os.Environ(), "ROCKETMQ_HOME="+folder)
	process.Stderr = os.Stderr
	orders, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	running := &tool{orders: orders, reports: make(chan []byte), process: process}
	go running.read(output)
	t.Cleanup(running.stop)
	var first sentFirst
	running.await(t, "the live clients", &first)
	return running, first
}

// run runs one command.
func (r *tool) run(t *testing.T, arguments []string) printed {
	t.Helper()
	order, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(r.orders, "%s\n", order); err != nil {
		t.Fatal(err)
	}
	var outcome printed
	r.await(t, fmt.Sprint(arguments), &outcome)
	return outcome
}

func (r *tool) await(t *testing.T, what string, report any) {
	t.Helper()
	select {
	case line, ok := <-r.reports:
		if !ok {
			t.Fatalf("%s: the tool's process has ended", what)
		}
		if err := json.Unmarshal(line, report); err != nil {
			t.Fatalf("%s: %q: %v", what, line, err)
		}
	case <-time.After(commandTimeout):
		t.Fatalf("%s: nothing for %v", what, commandTimeout)
	}
}

func (r *tool) read(output io.Reader) {
	defer close(r.reports)
	lines := bufio.NewReaderSize(output, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		// Libraries print here too; reports are objects.
		if len(line) > 0 && line[0] == '{' {
			r.reports <- line
		}
	}
}

func (r *tool) stop() {
	_ = r.orders.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range r.reports {
		}
		_ = r.process.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(commandTimeout):
		_ = r.process.Process.Kill()
		<-ended
	}
}
