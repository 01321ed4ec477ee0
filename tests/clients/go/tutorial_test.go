package clients

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"apogee.test/clients/go/collector"
)

var (
	sentLine        = regexp.MustCompile(`^发送成功: SendResult \[sendStatus=0, msgIds=([0-9A-Fa-f]{32}), offsetMsgId=[0-9A-F]{32}, queueOffset=\d+, messageQueue=MessageQueue \[topic=\w+, brokerName=[-\w]+, queueId=\d+\]\]$`)
	transactionLine = regexp.MustCompile(`^开始执行本地逻辑$`)
	failedLine      = regexp.MustCompile(`^执行本地逻辑失败$`)
	checkedLine     = regexp.MustCompile(`^rocketmq的消息回查$`)
)

// The programs people start from do what their texts say. The consumer joins after the first message
// was sent, as in the course: a new group of a young topic starts at its beginning all the same.
func TestTheTutorialProgramsPrintWhatTheyShould(t *testing.T) {
	t.Parallel()
	programs := buildTutorial(t)

	transaction := run(t, programs, "transaction")
	transaction.await(t, soon, transactionLine)

	simple := run(t, programs, "simple")
	simpleId := simple.await(t, soon, sentLine)
	simple.awaitEnd(t)
	consumer := run(t, programs, "consumer")
	consumer.await(t, soon, receivedLine("imooc1", "this is imooc1", simpleId))

	delay := run(t, programs, "delay")
	delayId := delay.await(t, soon, sentLine)
	delayed := time.Now()
	delay.awaitEnd(t)
	consumer.await(t, delays[3]+soon, receivedLine("imooc1", "this is delay message", delayId))
	// The time between storing the message and reading the program's output is not exactly known.
	if taken := time.Since(delayed); taken < delays[3]-time.Second {
		t.Errorf("the delayed message was printed after %v", taken)
	}

	transaction.await(t, soon, failedLine)
	transactionId := transaction.await(t, soon, sentLine)
	transaction.await(t, firstCheck, checkedLine)
	received := collector.New()
	awaitRoute(t, shared, "TransTopic", soon)
	startConsumer(t, shared, unique("group"), "TransTopic", received.Accept("only"))
	received.Await(t, slowAnswer+soon, "the transaction message", func(deliveries []collector.Delivery) bool {
		for _, delivery := range deliveries {
			if delivery.MsgId == transactionId && delivery.Text() == "this is transaction message2" {
				return true
			}
		}
		return false
	})
}

func receivedLine(topic, body, id string) *regexp.Regexp {
	return regexp.MustCompile(`^获取到值： \[Message=\[topic=` + topic + `, body=` + body + `, .* MsgId=` + id + `, `)
}

func buildTutorial(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if output, err := exec.Command("go", "build", "-o", folder, "./tutorial/...").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return folder
}

// program is a tutorial program that runs, and what it has printed.
type program struct {
	name  string
	mutex sync.Mutex
	lines []string
	grown chan struct{}
	ended chan error
}

func run(t *testing.T, folder, name string) *program {
	t.Helper()
	process := exec.Command(filepath.Join(folder, name))
	process.Env = append(os.Environ(), "APOGEE_NAMESRV_ADDR="+shared.Nameserver, "ROCKETMQ_GO_LOG_LEVEL=fatal")
	output, err := process.StdoutPipe()
	if err == nil {
		err = process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	started := &program{name: name, grown: make(chan struct{}, 1), ended: make(chan error, 1)}
	var reading sync.WaitGroup
	reading.Go(func() {
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			started.print(strings.TrimSpace(scanner.Text()))
		}
		started.ended <- process.Wait()
	})
	t.Cleanup(func() {
		_ = process.Process.Kill()
		reading.Wait()
	})
	return started
}

func (p *program) print(line string) {
	p.mutex.Lock()
	p.lines = append(p.lines, line)
	p.mutex.Unlock()
	select {
	case p.grown <- struct{}{}:
	default:
	}
}

// await waits for a line that matches, and returns its first group if the pattern has one.
func (p *program) await(t *testing.T, within time.Duration, pattern *regexp.Regexp) string {
	t.Helper()
	deadline := time.After(within)
	for {
		p.mutex.Lock()
		lines := p.lines
		p.mutex.Unlock()
		for _, line := range lines {
			if match := pattern.FindStringSubmatch(line); match != nil {
				return match[len(match)-1]
			}
		}
		select {
		case <-p.grown:
		case <-deadline:
			t.Fatalf("%s did not print %s within %v, but:\n%s", p.name, pattern, within, strings.Join(lines, "\n"))
		}
	}
}

func (p *program) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("%s ended with %v", p.name, err)
		}
	case <-time.After(soon):
		t.Errorf("%s did not end", p.name)
	}
}
