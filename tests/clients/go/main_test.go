// Package clients drives the server with the unchanged official Go client.
package clients

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/rlog"

	"apogee.test/clients/go/cluster"
)

// Most tests wait for timers of the client or the broker rather than for a processor, so many more of
// them may run at once than there are processors.
const parallelTests = "32"

// shared serves every test that leaves the broker running.
var shared *cluster.Cluster

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	silenceClient()
	if err := allowManyParallelTests(); err != nil {
		return fail(err)
	}
	folder, err := os.MkdirTemp("", "apogee-go-client-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(folder)
	shared, err = cluster.Shared(folder)
	if shared != nil {
		defer shared.Stop()
	}
	if err != nil {
		return fail(err)
	}
	code := m.Run()
	if output := shared.Output(); code != 0 && output != "" {
		fmt.Fprintf(os.Stderr, "the shared broker said last:\n%s\n", output)
	}
	return code
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// silenceClient turns the client's log off, unless its own variable asks for a level.
func silenceClient() {
	if os.Getenv("ROCKETMQ_GO_LOG_LEVEL") == "" {
		rlog.SetLogLevel("fatal")
	}
}

func allowManyParallelTests() error {
	asked := false
	flag.Visit(func(given *flag.Flag) { asked = asked || given.Name == "test.parallel" })
	if asked {
		return nil
	}
	return flag.Set("test.parallel", parallelTests)
}
