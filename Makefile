# SPDX-License-Identifier: Apache-2.0
# Two commands do it all on a bare Debian 12:   make demo   and   make test
# The others are their parts, and CI's steps: deps build check check-asan lint bench clean.

CMAKE ?= cmake
PYTHON ?= /usr/bin/python3
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
BUILD_PACKAGES := cmake ninja-build g++ libc-ares-dev libtomlplusplus-dev
TEST_PACKAGES := libgtest-dev python3-pytest python3-pytest-xdist python3-pytest-timeout python3-hypothesis mandoc
ANALYSIS_PACKAGES := clang clang-tidy cppcheck valgrind
FUZZ_PACKAGES := clang libclang-rt-14-dev llvm
BENCH_PACKAGES := haproxy nginx-light libnginx-mod-stream socat

.PHONY: help deps deps-test deps-bench deps-fuzz deps-analysis build demo check check-asan test fuzz fuzz-smoke fuzz-build fuzz-keep \
  clang tidy cppcheck valgrind bench lint man-lint clean

help:
	@echo 'make demo        install what it needs, build, and watch the relay work'
	@echo 'make test        install what it needs, build, and run all tests'
	@echo 'make build       bin/relay, static      make check       the tests alone'
	@echo 'make check-asan  the tests, sanitized   make bench       side by side with haproxy, nginx, socat'
	@echo 'make fuzz        each format for a minute                make fuzz-smoke  for 5 seconds each'
	@echo 'make clang tidy cppcheck valgrind    a second compiler, and what analyses have to say'
	@echo 'make lint        man pages and house rules               make clean'

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
deps-fuzz: deps
	$(call install,$(FUZZ_PACKAGES))
deps-analysis: deps-test
	$(call install,$(ANALYSIS_PACKAGES))
deps-bench: deps
	$(call install,$(BENCH_PACKAGES))

build: deps
	@$(CMAKE) -S . -B build -G Ninja -DRELAY_TESTS=OFF >/dev/null
	@$(CMAKE) --build build -j $(JOBS) --target relay
	@mkdir -p bin && strip -o bin/relay.new build/relay && mv bin/relay.new bin/relay
	@ls -l bin/relay | awk '{print "bin/relay: " $$5 " bytes, static"}'

demo: build
	$(PYTHON) py/demo.py

check: deps-test build
	@$(CMAKE) -S . -B build/tests -G Ninja -DRELAY_TESTS=ON >/dev/null
	@$(CMAKE) --build build/tests -j $(JOBS) --target unit_tests
	build/tests/unit_tests --gtest_brief=1
	$(PYTHON) -m pytest -q -n $(JOBS) tests

# The same tests against a relay that is built with ASan and UBSan.
check-asan: deps-test
	@$(CMAKE) -S . -B build/asan -G Ninja -DRELAY_TESTS=ON -DRELAY_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug >/dev/null
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

# The second compiler: the same warnings, which are errors, and the unit tests.
clang: deps-analysis
	@$(CMAKE) -S . -B build/clang -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DRELAY_TESTS=ON >/dev/null
	@$(CMAKE) --build build/clang -j $(JOBS) --target relay unit_tests
	build/clang/unit_tests --gtest_brief=1

SOURCES := $(wildcard lib/*.cpp wire/*.cpp net/*.cpp ops/*.cpp kinds/*/*.cpp run/*.cpp) relay.cpp

# What .clang-tidy has on. It reads the commands of a build with clang, of which nothing need be built.
tidy: deps-analysis
	@$(CMAKE) -S . -B build/clang -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DRELAY_TESTS=ON >/dev/null
	@printf '%s\n' $(SOURCES) | xargs -P $(JOBS) -n 1 clang-tidy -p build/clang --quiet 2>build/clang/tidy.log || \
	  { grep -v 'warnings generated\|warnings treated' build/clang/tidy.log; exit 1; }

cppcheck: deps-analysis
	cppcheck --quiet --error-exitcode=1 --std=c++20 --language=c++ -j $(JOBS) -I . --inline-suppr --enable=warning,performance,portability \
	  --suppress=missingIncludeSystem $(SOURCES)

# Memcheck: the unit tests but those that are about size, the limit of descriptors (memcheck keeps some for
# itself) or an operator new of their own; and the end-to-end tests of how sessions end and of names.
VALGRIND_TESTS := tests/test_cluster_close.py tests/test_names.py
valgrind: deps-analysis
	@$(CMAKE) -S . -B build/valgrind -G Ninja -DRELAY_TESTS=ON -DRELAY_STATIC=OFF >/dev/null
	@$(CMAKE) --build build/valgrind -j $(JOBS) --target relay unit_tests
	valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
	  build/valgrind/unit_tests --gtest_brief=1 --gtest_filter='-Confine.*:Hostile.*:*NoMemory*:*WithoutMemory*:ListenerTest.*Rest*:ListenerTest.ItGoesOn*'
	RELAY_BIN=$(CURDIR)/tests/memcheck/relay RELAY_SLOW=1 $(PYTHON) -m pytest -q -n $(JOBS) $(VALGRIND_TESTS)

lint: deps-test man-lint
	$(PYTHON) -m pytest -q tests/lint

man-lint:
	mandoc -T lint -W warning man/*.?

bench: deps-bench build
	@mkdir -p build/bench && $(CXX) -std=c++20 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -o build/bench/load bench/load.cpp -lpthread
	$(PYTHON) bench/run.py $(BENCH_ARGS)

clean:
	rm -rf build bin .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
