# frozen_string_literal: true

# A tour of what most callers need. Usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]
# Exits with 0 only if everything came out as it should.
require "optparse"
require "set"
require "connection"
require "failure"

include Sensorium::V1 # the names of messages, as this program is short

# Each public method shows one thing, against one mesh.
class Tour
  STREAM_COUNT = 1000
  DIGITS = %w[zero one two three four five six seven eight nine].freeze

  def initialize(stub, token, inputs)
    @stub = stub
    @token = token
    # Whole files: the server knows the format from the bytes.
    @image = Content.new(image: Image.new(data: File.binread(File.join(inputs, "three.png"))))
    @audio = Content.new(audio: Audio.new(data: File.binread(File.join(inputs, "three.wav"))))
  end

  # Embeds a text, a picture and a sound in one call: three vectors of one space. Shows metadata both ways.
  def embed
    request = EmbedRequest.new(contents: [text("the digit three"), @image, @audio])
    # The id stands in the server's log; one is made there where it is absent.
    operation = @stub.embed(request, **options(metadata: { "x-request-id" => "tour-ruby-1" }), return_op: true)
    response = operation.execute
    response.results.each do |result|
      expect(result.embedding, result.error&.message)
      puts "embedded: #{result.embedding.values.size} numbers of #{result.embedding.space}"
    end
    came = operation.metadata.merge(operation.trailing_metadata) # headers and trailers
    expect(came["x-request-id"] == "tour-ruby-1", "x-request-id was not echoed")
    puts format("request tour-ruby-1 took %.1f ms on the server", response.receipt.total_ns / 1e6)
  end

  # Classifies the picture and the sound by names alone (zero-shot).
  def classify
    labels = DIGITS.map { |name| Label.new(name: name) }
    request = ClassifyRequest.new(contents: [@image, @audio], labels: labels, top_k: 1)
    @stub.classify(request, **options).results.each do |result|
      expect(result.ranking, result.error&.message)
      best = result.ranking.labels.first
      puts "classified: #{best.name} (#{best.has_probability? ? best.probability.round(3) : 'not calibrated'})"
      expect(best.name == "three", "expected three")
    end
  end

  # Streams many texts. gRPC takes a request from the enumerator, on a thread of its own, when the one before is on its
  # way: a server that reads no further thereby stops it. Answers may come out of order.
  def embed_stream
    requests = Enumerator.new do |stream|
      STREAM_COUNT.times { |i| stream << EmbedStreamRequest.new(id: i.to_s, content: text("text number #{i}")) }
    end
    answered = Set.new
    @stub.embed_stream(requests, **options(within_s: 60)).each do |response| # the deadline is that of the whole stream
      answered << response.id if response.result.embedding
    end
    puts "streamed: #{STREAM_COUNT} texts, #{answered.size} answers"
    expect(answered.size == STREAM_COUNT, "answers are missing")
  end

  # One bad item fails alone; the call is OK.
  def bad_item
    request = EmbedRequest.new(contents: [text("this one is fine"), Content.new(image: Image.new)])
    good, bad = @stub.embed(request, **options).results.to_a
    expect(good.embedding && bad.error, "the second item alone should fail")
    puts "a bad item:"
    show(bad.error)
    expect(Failure.reason(bad.error) == "ERROR_REASON_MEDIA_UNDECODABLE", "another reason was expected")
  end

  # A bad request fails as a whole, with the same details.
  def bad_request
    @stub.embed(EmbedRequest.new, **options)
    raise "an empty request should be refused"
  rescue GRPC::InvalidArgument => error # each code has its class; GRPC::BadStatus is any of them
    status = Failure.status(error)
    puts "a bad request:"
    show(status)
    expect(Failure.reason(status) == "ERROR_REASON_EMPTY_REQUEST", "another reason was expected")
  end

  private

  def options(within_s: 10, metadata: {})
    Connection.call_options(within_s: within_s, token: @token, metadata: metadata)
  end

  def text(text)
    Content.new(text: text)
  end

  # Says what an error tells a program: the field that is at fault, the reason, and whether to try again.
  def show(status)
    puts "  code #{status.code}: #{status.message}"
    Failure.detail(status, Google::Rpc::BadRequest)&.field_violations&.each do |violation|
      puts "  field #{violation.field}: #{violation.description}"
    end
    puts "  reason #{Failure.reason(status)}"
    delay_s = Failure.retry_delay_s(status)
    puts delay_s ? "  try again in #{delay_s} s" : "  no use in trying again: no RetryInfo"
  end

  def expect(holds, what)
    raise what || "there is no result" unless holds
  end
end

given = { inputs: "." }
OptionParser.new("usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]") do |parser|
  parser.on("--ca PEM")
  parser.on("--token TOKEN")
  parser.on("--inputs FOLDER")
end.parse!(into: given)

begin
  tour = Tour.new(Connection.open(ARGV.fetch(0, "localhost:8001"), ca: given[:ca]), given[:token], given[:inputs])
  %i[embed classify embed_stream bad_item bad_request].each { |step| tour.public_send(step) }
  puts "all came out as it should"
rescue GRPC::BadStatus => error
  abort "tour: #{error.details}"
rescue RuntimeError, SystemCallError => error
  abort "tour: #{error.message}"
end
