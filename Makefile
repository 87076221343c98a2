# SPDX-License-Identifier: Apache-2.0
# Two commands do it all on a bare Debian 12:   make demo   and   make test
# The others are their parts, and CI's steps: deps build check check-asan lint bench clean, and for packagers:
# install uninstall deb dist, check-deb (lintian, and the same package twice), test-systemd (the package in a booted systemd).

CMAKE ?= cmake
PYTHON ?= /usr/bin/python3
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
TESTS ?= tests
BUILD_PACKAGES := cmake ninja-build g++ libc-ares-dev libssl-dev libtomlplusplus-dev libhttp-parser-dev rapidjson-dev libsnappy-dev zlib1g-dev libnghttp2-dev libprotozero-dev
TEST_PACKAGES := systemd zsh libgtest-dev python3-pytest python3-pytest-xdist python3-pytest-timeout python3-hypothesis python3-cryptography openssl mandoc redis-server python3-redis php-cli php-redis nodejs node-redis haproxy python3-grpcio python3-protobuf protobuf-compiler libprotobuf-dev libgrpc++-dev protobuf-compiler-grpc
GO_PACKAGES := golang-go golang-google-grpc-dev golang-goprotobuf-dev
ANALYSIS_PACKAGES := clang clang-tidy cppcheck valgrind
FUZZ_PACKAGES := clang libclang-rt-14-dev llvm
DEMO_PACKAGES := redis-server python3-grpcio python3-protobuf protobuf-compiler libprotobuf-dev
DEB_PACKAGES := lintian dpkg-dev xz-utils
SYSTEMD_PACKAGES := systemd-container debootstrap
BENCH_PACKAGES := haproxy nginx-light libnginx-mod-stream socat redis-server nutcracker php-cli php-redis python3-redis libgrpc++-dev protobuf-compiler protobuf-compiler-grpc

PREFIX ?= /usr/local
DESTDIR ?=
VERSION = $(shell sed -n 's/.*kVersion = "\(.*\)".*/\1/p' relay.h)
# The time of what is built: the commit's. git gives it to the files of a tarball, too.
EPOCH = $(shell if [ -e .git ]; then git log -1 --format=%ct; else stat -c %Y CHANGELOG.md; fi)

.PHONY: help deps deps-demo deps-go deps-test deps-bench build demo peers check check-asan test bench bench-tls bench-redis bench-plex bench-million lint man-lint clean \
  deps-fuzz deps-analysis fuzz fuzz-smoke fuzz-build fuzz-keep tidy cppcheck valgrind deps-deb deps-systemd install uninstall deb dist check-deb check-dist test-systemd

help:
	@echo 'make demo        install what it needs, build, and watch the relay work'
	@echo 'make test        install what it needs, build, and run all tests'
	@echo 'make build       bin/relay, static      make check       the tests alone'
	@echo 'make check-asan  the tests, sanitized   make bench       side by side with haproxy, nginx, socat, nutcracker, gRPC'
	@echo 'make fuzz        each format for a minute                make fuzz-smoke  for 5 seconds each'
	@echo 'make tidy cppcheck valgrind    what analyses have to say'
	@echo 'make lint        man pages and house rules               make clean'
	@echo 'make install     to PREFIX (/usr/local), DESTDIR         make uninstall'
	@echo 'make deb         a Debian package in build/              make dist       a tarball of the sources'
	@echo 'make test-systemd  the package in a systemd of its own, as root'

# Installs only what is missing, so that without root it works where everything is there.
define install
	@missing=$$(for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "Installing: $$missing"; \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

deps:
	$(call install,$(BUILD_PACKAGES))
deps-test: deps
	$(call install,$(TEST_PACKAGES))
# 600 MB, which is much to ask of who only wants to see the tests pass: without it those with grpc-go at the other end are skipped. CI asks for it.
deps-go: deps
	$(call install,$(GO_PACKAGES))
deps-demo: deps
	$(call install,$(DEMO_PACKAGES))
deps-deb: deps
	$(call install,$(DEB_PACKAGES))
deps-systemd: deps-test
	$(call install,$(SYSTEMD_PACKAGES))
deps-fuzz: deps
	$(call install,$(FUZZ_PACKAGES))
deps-analysis: deps-test
	$(call install,$(ANALYSIS_PACKAGES))
deps-bench: deps
	$(call install,$(BENCH_PACKAGES))

build: deps
	@$(CMAKE) -S . -B build -G Ninja -DRELAY_TESTS=OFF >/dev/null
	@$(CMAKE) --build build -j $(JOBS) --target relay
	@mkdir -p bin && strip -o build/relay.stripped build/relay && install -m 755 build/relay.stripped bin/relay
	@ls -l bin/relay | awk '{print "bin/relay: " $$5 " bytes, static"}'

install: deps
	@$(CMAKE) -S . -B build -G Ninja -DRELAY_TESTS=OFF -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	@$(CMAKE) --build build -j $(JOBS)
	DESTDIR=$(DESTDIR) $(CMAKE) --install build --strip

# What the last install has put there.
uninstall:
	sed 's|^|$(DESTDIR)|' build/install_manifest.txt | xargs -d '\n' rm -f --

deb: deps
	@$(CMAKE) -S . -B build -G Ninja -DRELAY_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr >/dev/null
	@$(CMAKE) --build build -j $(JOBS)
	@rm -f build/relay_*.deb
	@cd build && umask 022 && SOURCE_DATE_EPOCH=$(EPOCH) cpack >cpack.log 2>&1 || { cat cpack.log; exit 1; }
	@cd build && sha256sum relay_*.deb

check-deb: deps-deb deb
	packaging/check_deb build/relay_*.deb

dist:
	@mkdir -p build
	git archive --prefix=relay-$(VERSION)/ -o build/relay-$(VERSION).tar.gz HEAD
	@cd build && sha256sum relay-$(VERSION).tar.gz

# The tarball makes the same package as the tree, though in another folder and at another time, installs, uninstalls, and has what its
# tests need: those of the sources, the documents and the examples. The others are about the program, which is that of the tree.
check-dist: dist deb deps-test
	rm -rf build/dist && mkdir build/dist && tar -xzf build/relay-$(VERSION).tar.gz -C build/dist
	umask 077 && LC_ALL=C TZ=Asia/Tokyo $(MAKE) -C build/dist/relay-$(VERSION) deb
	cmp build/relay_*.deb build/dist/relay-$(VERSION)/build/relay_*.deb
	$(MAKE) -C build/dist/relay-$(VERSION) install uninstall DESTDIR=$(CURDIR)/build/dist/root >build/dist/install.log
	test -d build/dist/root && test -z "$$(find build/dist/root -type f)"
	$(MAKE) -C build/dist/relay-$(VERSION) build >build/dist/build.log
	cd build/dist/relay-$(VERSION) && $(PYTHON) -m pytest -q -n $(JOBS) tests/lint tests/test_docs.py

test-systemd: deps-systemd build deb
	cd py && $(PYTHON) -m harness.machine
	$(PYTHON) -m pytest -q -rsx tests/systemd/booted.py

demo: deps-demo build
	$(PYTHON) py/demo.py

# Programs that stand at the other end in tests: not of the build that is tested, and never sanitized.
peers: build deps-test
	@$(CMAKE) -S . -B build -G Ninja -DRELAY_TESTS=ON >/dev/null
	@$(CMAKE) --build build -j $(JOBS) --target peers

check: peers
	@$(CMAKE) --build build -j $(JOBS) --target unit_tests
	build/unit_tests --gtest_brief=1
	$(PYTHON) -m pytest -q -n $(JOBS) $(TESTS)

# The same tests against a relay that is built with ASan and UBSan, by the second compiler: its warnings are errors, too.
check-asan: peers deps-fuzz
	@$(CMAKE) -S . -B build/asan -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DRELAY_TESTS=ON -DRELAY_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug >/dev/null
	@$(CMAKE) --build build/asan -j $(JOBS) --target relay unit_tests
	build/asan/unit_tests --gtest_brief=1
	RELAY_BIN=$(CURDIR)/build/asan/relay RELAY_SLOW=1 $(PYTHON) -m pytest -q -n $(JOBS) tests

test: check

# FUZZ_SECONDS for each target, as many targets at a time as there are processors. fuzz-keep adds what was found to the corpus.
fuzz-build: deps-fuzz
	@$(CMAKE) -S . -B build/fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DRELAY_FUZZ=ON -DRELAY_TESTS=OFF >/dev/null
	@$(CMAKE) --build build/fuzz -j $(JOBS) --target fuzz
fuzz: fuzz-build
	$(PYTHON) tests/fuzz/run.py build/fuzz $(FUZZ_SECONDS)
fuzz-smoke: fuzz-build
	$(PYTHON) tests/fuzz/run.py build/fuzz 5
fuzz-keep: fuzz-build
	$(PYTHON) tests/fuzz/run.py build/fuzz --keep

SOURCES := $(wildcard lib/*.cpp wire/*.cpp net/*.cpp ops/*.cpp kinds/*/*.cpp run/*.cpp) relay.cpp

# What .clang-tidy has on. It reads the commands of a build with clang, of which nothing need be built. TIDY_NODES is how far the analyzer
# follows a function: a quarter of its default, which takes twice as long for the whole. `make tidy TIDY_NODES=225000` is that.
TIDY_NODES ?= 60000
tidy: deps-analysis
	@$(CMAKE) -S . -B build/clang -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DRELAY_TESTS=OFF >/dev/null
	@printf '%s\n' $(SOURCES) | xargs -P $(JOBS) -n 1 clang-tidy -p build/clang --quiet \
	  $(addprefix --extra-arg=,-Xclang -analyzer-config -Xclang max-nodes=$(TIDY_NODES)) 2>build/clang/tidy.log || \
	  { grep -v 'warnings generated\|warnings treated' build/clang/tidy.log; exit 1; }

cppcheck: deps-analysis
	cppcheck --quiet --error-exitcode=1 --std=c++20 --language=c++ -j $(JOBS) -I . --inline-suppr --enable=warning,performance,portability \
	  --suppress=missingIncludeSystem $(SOURCES)

# Memcheck: the unit tests but those that are about size, the limit of descriptors (memcheck keeps some for
# itself), a filter of system calls (it knows no seccomp) or an operator new of their own; and the end-to-end tests of how sessions end and of names.
VALGRIND_TESTS := tests/test_cluster_close.py tests/test_names.py
valgrind: deps-analysis
	@$(CMAKE) -S . -B build -G Ninja -DRELAY_TESTS=ON >/dev/null
	@$(CMAKE) --build build -j $(JOBS) --target relay_dynamic unit_tests
	valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
	  build/unit_tests --gtest_brief=1 --gtest_filter='-Confine.*:Hostile.*:*NoMemory*:*WithoutMemory*:ListenerTest.*Rest*:ListenerTest.ItGoesOn*:SpoolTest.ItWorksConfined:SpoolTest.WhereTheKernel*:SpoolTest.ASyncThatFails*'
	RELAY_BIN=$(CURDIR)/tests/memcheck/relay RELAY_SLOW=1 $(PYTHON) -m pytest -q -n $(JOBS) $(VALGRIND_TESTS)

lint: deps-test man-lint
	$(PYTHON) -m pytest -q tests/lint

man-lint:
	mandoc -T lint -W warning man/*.?

bench: deps-bench build
	@mkdir -p build/bench && $(CXX) -std=c++20 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -o build/bench/load bench/load.cpp -lpthread
	$(PYTHON) bench/run.py $(BENCH_ARGS)
	$(if $(filter-out --quick,$(BENCH_ARGS)),,$(PYTHON) bench/redis_run.py $(BENCH_ARGS))
	$(if $(filter-out --quick,$(BENCH_ARGS)),,$(MAKE) bench-plex)

bench-tls: deps-bench build
	@mkdir -p build/bench && $(CXX) -std=c++20 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -o build/bench/tls_load bench/tls_load.cpp -lssl -lcrypto -lpthread
	$(PYTHON) bench/tls.py $(BENCH_ARGS)

bench-redis: deps-bench build
	$(PYTHON) bench/redis_run.py $(BENCH_ARGS)

bench-plex: deps-bench build
	@$(CMAKE) -S . -B build -G Ninja -DRELAY_BENCH=ON >/dev/null
	@$(CMAKE) --build build -j $(JOBS) --target bench_plex
	$(PYTHON) bench/plex_run.py $(BENCH_ARGS)

# A million clients: root, 12 GB of memory, five minutes.
bench-million: deps-bench build
	@$(CMAKE) -S . -B build -G Ninja -DRELAY_BENCH=ON >/dev/null
	@$(CMAKE) --build build -j $(JOBS) --target bench_plex
	$(PYTHON) bench/plex_million.py $(BENCH_ARGS)

clean:
	rm -rf build bin .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
