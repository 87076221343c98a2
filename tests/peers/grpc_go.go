// SPDX-License-Identifier: Apache-2.0
// An upstream for tests by grpc-go, as Debian has it. The same as grpc_cpp.cpp: see there, and py/harness/peers/native_upstream.py.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/golang/protobuf/ptypes/empty"
	"golang.org/x/net/context"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	pb "upstream"
)

var output sync.Mutex

// Length in four bytes, a letter, the rest.
func tell(what byte, rest []byte) {
	output.Lock()
	defer output.Unlock()
	text := make([]byte, 4, 5+len(rest))
	binary.BigEndian.PutUint32(text, uint32(len(rest)+1))
	if _, err := os.Stdout.Write(append(append(text, what), rest...)); err != nil {
		os.Exit(1) // the test is over
	}
}

// What is done, by words of standard input.
type manner struct {
	sync.Mutex
	changed  *sync.Cond
	does     string
	live     string
	features []pb.Feature
	stalled  bool
}

type service struct {
	manner
	writing sync.Mutex
	newest  pb.UpstreamPeerService_BidirectionalStreamingServer
	streams uint64
}

func (s *service) Ready(context.Context, *empty.Empty) (*pb.ReadyResult, error) {
	tell('C', []byte("readies"))
	s.Lock()
	defer s.Unlock()
	return &pb.ReadyResult{Ready: true, Features: s.features}, nil
}

func (s *service) Live(stream pb.UpstreamPeerService_LiveServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return nil
		}
		tell('C', []byte("lives"))
		s.Lock()
		live := s.live
		s.Unlock()
		if live != "silent" {
			stream.Send(&pb.LiveResult{Live: live == "yes"})
		}
	}
}

func (s *service) BidirectionalStreaming(stream pb.UpstreamPeerService_BidirectionalStreamingServer) error {
	s.writing.Lock()
	number := s.streams
	s.streams++
	s.newest = stream
	s.writing.Unlock()
	tell('C', []byte("streams"))
	defer func() {
		s.writing.Lock()
		if s.newest == stream {
			s.newest = nil
		}
		s.writing.Unlock()
		tell('C', []byte("over"))
	}()
	for {
		s.Lock()
		for s.stalled {
			s.changed.Wait()
		}
		does := s.does
		s.Unlock()
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		raw, _ := proto.Marshal(in)
		head := make([]byte, 16, 16+len(raw))
		binary.BigEndian.PutUint64(head, uint64(time.Now().UnixNano()))
		binary.BigEndian.PutUint64(head[8:], number)
		tell('H', append(head, raw...))
		if in.Event != pb.Event_EVENT_DATA || does == "silent" {
			continue
		}
		out := &pb.OutputStreamRequest{Target: &pb.OutputStreamRequest_ClientUuid{ClientUuid: in.ClientUuid}}
		if does != "ack" {
			out.Payload = in.Payload
		}
		if does != "echo" {
			out.AckSeq = in.Seq
		}
		s.send(stream, out)
	}
}

func (s *service) send(stream pb.UpstreamPeerService_BidirectionalStreamingServer, message *pb.OutputStreamRequest) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if stream == nil {
		stream = s.newest
	}
	if stream != nil {
		stream.Send(message)
	}
}

// Until the server may begin: whoever asks it whether it is ready hears all that it was told.
func (s *service) prepare(lines *bufio.Scanner) {
	for lines.Scan() {
		words := append(strings.Fields(lines.Text()), "", "")
		if words[0] == "begin" {
			return
		}
		s.be(words[0], words[1])
	}
	os.Exit(0) // the test has gone
}

func (s *service) be(what string, rest string) {
	s.Lock()
	defer s.Unlock()
	switch what {
	case "does":
		s.does = rest
	case "live":
		s.live = rest
	case "feature":
		number, _ := strconv.Atoi(rest)
		s.features = append(s.features, pb.Feature(number))
	case "stall", "go_on":
		s.stalled = what == "stall"
	}
	s.changed.Broadcast()
}

func (s *service) obey(lines *bufio.Scanner, server *grpc.Server) {
	for lines.Scan() {
		words := append(strings.Fields(lines.Text()), "", "")
		switch words[0] {
		case "send":
			raw, _ := hex.DecodeString(words[1])
			message := &pb.OutputStreamRequest{}
			if proto.Unmarshal(raw, message) == nil {
				s.send(nil, message)
			}
		case "leave": // GOAWAY, and no time at which streams are cut
			go func() {
				server.GracefulStop()
				tell('C', []byte("left"))
			}()
		default:
			s.be(words[0], words[1])
		}
	}
}

// grpc_go HOST:PORT BYTES_OF_A_MESSAGE [KEY CERTIFICATE [CA]]
func main() {
	s := &service{manner: manner{does: "echo", live: "yes"}}
	s.changed = sync.NewCond(&s.manner)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	s.prepare(lines)
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		os.Exit(1)
	}
	most, _ := strconv.Atoi(os.Args[2])
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(most)}
	if len(os.Args) > 4 {
		own, err := tls.LoadX509KeyPair(os.Args[4], os.Args[3])
		if err != nil {
			os.Exit(1)
		}
		config := &tls.Config{Certificates: []tls.Certificate{own}}
		if len(os.Args) > 5 {
			config.ClientCAs = x509.NewCertPool()
			ca, _ := os.ReadFile(os.Args[5])
			config.ClientCAs.AppendCertsFromPEM(ca)
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	server := grpc.NewServer(options...)
	pb.RegisterUpstreamPeerServiceServer(server, s)
	go func() {
		s.obey(lines, server)
		os.Exit(0) // the test has gone
	}()
	tell('U', nil)
	server.Serve(listener)
	select {} // until the test goes
}
