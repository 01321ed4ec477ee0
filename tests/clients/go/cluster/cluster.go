// Package cluster starts, stops and kills the server under test: one process with a nameserver and a
// broker, on free loopback ports and a data folder of its own.
//
// APOGEE_BIN names the program to start. With APOGEE_NAMESRV instead the tests use a cluster that
// runs already, and APOGEE_GRPC names its gRPC door; it cannot be stopped, so tests that restart it are
// skipped.
package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"apogee.test/clients/go/remoting"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	pollInterval = 20 * time.Millisecond

	outputShown = 8 << 10

	// templateTopic has a route as soon as a broker that creates topics on first use is registered.
	templateTopic = "TBW102"
)

// Cluster is a nameserver with a broker.
type Cluster struct {
	// Nameserver is the address remoting clients are given.
	Nameserver string
	// Broker is the broker's address, which operators' tools are given; empty when the cluster is somebody else's.
	Broker string
	// GRPC is the address gRPC clients are given.
	GRPC string

	// Without a program the cluster is somebody else's.
	program        string
	folder         string
	nameserverPort int
	brokerPort     int
	grpcPort       int
	// settings are lines of the broker's configuration.
	settings []string
	process  *exec.Cmd
	ended    chan struct{}
}

// Shared returns the cluster most tests use together: the running one, or a new one in folder. A new
// broker's configuration has the settings as its lines.
func Shared(folder string, settings ...string) (*Cluster, error) {
	if nameserver := os.Getenv("APOGEE_NAMESRV"); nameserver != "" {
		running := &Cluster{Nameserver: nameserver, GRPC: os.Getenv("APOGEE_GRPC")}
		return running, running.awaitRoute()
	}
	return start(folder, settings)
}

// Own starts a cluster that belongs to one test, which may stop and kill it.
func Own(t *testing.T, settings ...string) *Cluster {
	t.Helper()
	if os.Getenv("APOGEE_NAMESRV") != "" {
		t.Skip("APOGEE_NAMESRV names a running cluster, and this test restarts the broker")
	}
	own, err := start(t.TempDir(), settings)
	if own != nil {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the broker said last:\n%s", own.Output())
			}
			if err := own.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return own
}

func start(folder string, settings []string) (*Cluster, error) {
	program := os.Getenv("APOGEE_BIN")
	if program == "" {
		return nil, errors.New("set APOGEE_BIN to the apogee program, or APOGEE_NAMESRV to a running nameserver")
	}
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	nameserverPort, brokerPort, grpcPort, err := freePorts()
	if err != nil {
		return nil, err
	}
	cluster := &Cluster{
		Nameserver:     fmt.Sprintf("127.0.0.1:%d", nameserverPort),
		Broker:         fmt.Sprintf("127.0.0.1:%d", brokerPort),
		GRPC:           fmt.Sprintf("127.0.0.1:%d", grpcPort),
		program:        program,
		folder:         folder,
		nameserverPort: nameserverPort,
		brokerPort:     brokerPort,
		grpcPort:       grpcPort,
		settings:       settings,
	}
	if err := cluster.configure(); err != nil {
		return nil, err
	}
	return cluster, cluster.Start()
}

func (c *Cluster) configure() error {
	lines := strings.Join(c.settings, "\n") + "\n"
	return os.WriteFile(c.configFile(), []byte(lines), 0o644)
}

// starting lets one broker start at a time. Side by side they would only slow each other down.
var starting sync.Mutex

// Start runs the program and returns once clients can send. After [Cluster.Stop] or [Cluster.Kill] it
// starts again with the same data and ports.
func (c *Cluster) Start() error {
	starting.Lock()
	defer starting.Unlock()
	output, err := os.OpenFile(c.outputFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	c.process = exec.Command(c.program, "up",
		"--data-dir", filepath.Join(c.folder, "data"),
		"--nameserver-port", strconv.Itoa(c.nameserverPort),
		"--broker-port", strconv.Itoa(c.brokerPort), "--grpc-port", strconv.Itoa(c.grpcPort),
		"--config", c.configFile())
	c.process.Stdout, c.process.Stderr = output, output
	if err := c.process.Start(); err != nil {
		return err
	}
	c.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) {
		_ = process.Wait()
		close(ended)
	}(c.process, c.ended)
	return c.awaitRoute()
}

// Stop asks the broker to end, as an operator would, and waits for it.
func (c *Cluster) Stop() error {
	return c.end(syscall.SIGTERM)
}

// Kill ends the broker without giving it a chance to write anything more.
func (c *Cluster) Kill() error {
	return c.end(syscall.SIGKILL)
}

// Output returns the end of what the broker has printed: nothing when the cluster is somebody else's.
func (c *Cluster) Output() string {
	if c.program == "" {
		return ""
	}
	output, err := os.ReadFile(c.outputFile())
	if err != nil {
		return err.Error()
	}
	return string(output[max(0, len(output)-outputShown):])
}

func (c *Cluster) outputFile() string {
	return filepath.Join(c.folder, "output.log")
}

func (c *Cluster) configFile() string {
	return filepath.Join(c.folder, "broker.conf")
}

func (c *Cluster) end(signal syscall.Signal) error {
	if c.process == nil || c.hasEnded() {
		return nil
	}
	if err := c.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(stopTimeout):
		_ = c.process.Process.Kill()
		<-c.ended
		return fmt.Errorf("the broker did not end within %v after signal %v", stopTimeout, signal)
	}
}

func (c *Cluster) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func (c *Cluster) awaitRoute() error {
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(pollInterval) {
		_, err := remoting.Master(c.Nameserver, templateTopic)
		if err == nil {
			err = c.knock()
		}
		if err == nil {
			return nil
		}
		if c.process != nil && c.hasEnded() {
			return fmt.Errorf("the broker ended while starting: %v\n%s", c.process.ProcessState, c.Output())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %v: %w", startTimeout, err)
		}
	}
}

// knock tells whether the gRPC door is open.
func (c *Cluster) knock() error {
	if c.GRPC == "" {
		return nil
	}
	connection, err := net.DialTimeout("tcp", c.GRPC, startTimeout)
	if err != nil {
		return err
	}
	return connection.Close()
}
