# Sidekiq: jobs that are pushed here and worked off by a real Sidekiq, a process of its own that loads this file.

require "json"
require "openssl"
require "sidekiq"
require "sidekiq/api"

env = ENV.to_h
files = { ca_file: env.fetch("FERRITE_CA") }
if env["FERRITE_CERT"]
  files[:cert] = OpenSSL::X509::Certificate.new(File.read(env["FERRITE_CERT"]))
  files[:key] = OpenSSL::PKey.read(File.read(env.fetch("FERRITE_KEY")))
end
who = env["FERRITE_PASSWORD"] ? "#{env["FERRITE_USER"]}:#{env["FERRITE_PASSWORD"]}@" : ""
SERVER = { url: "rediss://#{who}#{env["FERRITE_HOST"]}:#{env["FERRITE_PORT"]}/0", ssl_params: files, timeout: 30 }.freeze

# What the next major version of the client library will do otherwise.
Redis.silence_deprecations = true

Sidekiq.configure_client { |config| config.redis = SERVER }
Sidekiq.configure_server do |config|
  config.redis = SERVER
  config.logger.level = Logger::FATAL
  # Looks for what is due from the start, and often.
  config.options[:poll_interval_average] = 0.2
end

# Notes that it was there.
class Note
  include Sidekiq::Worker

  def perform(list, what)
    Sidekiq.redis { |redis| redis.rpush(list, what) }
  end
end

# Fails until it has been tried often enough.
class Stubborn
  include Sidekiq::Worker
  sidekiq_options retry: 5
  sidekiq_retry_in { 1 }

  def perform(key)
    tries = Sidekiq.redis { |redis| redis.incr(key) }
    raise "not yet" if tries < 2
  end
end

# Fails for good.
class Fails
  include Sidekiq::Worker
  sidekiq_options retry: 0

  def perform
    raise "as asked"
  end
end

def eventually(what)
  limit = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 60
  until (found = yield)
    raise "#{what}: did not happen in a minute" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > limit

    sleep 0.02
  end
  found
end

def check(what, holds)
  raise "#{what} does not hold" unless holds
end

def list(key)
  Sidekiq.redis { |redis| redis.lrange(key, 0, -1) }
end

def jobs
  20.times { |i| Note.perform_async("noted", i.to_s) }
  Note.perform_bulk((20...50).map { |i| ["noted", i.to_s] })
  eventually("fifty notes") { list("noted").size == 50 }
  check("every note", list("noted").map(&:to_i).sort == (0...50).to_a)
end

def the_future
  Note.perform_in(0.5, "late", "one")
  late = Note.perform_in(3600, "late", "never")
  check("two are scheduled", Sidekiq::ScheduledSet.new.size == 2)
  eventually("one is due") { list("late") == ["one"] }
  check("it can be found and taken back", Sidekiq::ScheduledSet.new.find_job(late).delete)
  check("none is scheduled", Sidekiq::ScheduledSet.new.size.zero?)
end

def retries_and_the_dead
  Stubborn.perform_async("tries")
  eventually("the second try") { Sidekiq.redis { |redis| redis.get("tries") } == "2" }
  Fails.perform_async
  dead = eventually("a dead job") { Sidekiq::DeadSet.new.first }
  check("its reason", dead.item["error_message"] == "as asked")
end

def what_the_page_of_sidekiq_shows
  process = eventually("the process is known") { Sidekiq::ProcessSet.new.first }
  check("its concurrency", process["concurrency"] == 3)
  eventually("the counts") { Sidekiq::Stats.new.processed >= 53 && Sidekiq::Stats.new.failed >= 2 }
  check("nothing waits", Sidekiq::Queue.new.size.zero?)
end

# The main program; the process of Sidekiq that it starts only loads the file.
if $PROGRAM_NAME == __FILE__
  $stdout.sync = true
  Sidekiq.redis(&:flushall)
  worker = Process.spawn("sidekiq", "-r", File.expand_path(__FILE__), "-c", "3", "-t", "5", in: File::NULL, out: $stderr)
  begin
    %i[jobs the_future retries_and_the_dead what_the_page_of_sidekiq_shows].each do |step|
      send(step)
      puts "  #{step}"
    end
  ensure
    Process.kill("TERM", worker)
    _, status = Process.wait2(worker)
  end
  check("Sidekiq ended well", status.success?)
end
