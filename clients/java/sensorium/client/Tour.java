package sensorium.client;

import com.google.protobuf.ByteString;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import sensorium.v1.Audio;
import sensorium.v1.ClassifyRequest;
import sensorium.v1.Content;
import sensorium.v1.EmbedRequest;
import sensorium.v1.EmbedStreamRequest;
import sensorium.v1.Image;
import sensorium.v1.Label;
import sensorium.v1.OrchestratorServiceGrpc;
import sensorium.v1.OrchestratorServiceGrpc.OrchestratorServiceBlockingStub;
import sensorium.v1.OrchestratorServiceGrpc.OrchestratorServiceStub;

/**
 * A tour of what most callers need. Usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]
 *
 * <p>Exits with 0 only if everything came out as it should.
 */
public final class Tour {
  private static final int STREAM_COUNT = 1000;
  private static final Metadata.Key<String> REQUEST_ID = Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER);

  private final OrchestratorServiceBlockingStub blocking;
  private final OrchestratorServiceStub async;
  private final Content image;
  private final Content audio;

  private Tour(ManagedChannel channel, String token, Path inputs) throws IOException {
    var credentials = token == null ? null : Connection.bearer(token);
    blocking = OrchestratorServiceGrpc.newBlockingStub(channel).withCallCredentials(credentials);
    async = OrchestratorServiceGrpc.newStub(channel).withCallCredentials(credentials);
    // Whole files: the server knows the format from the bytes.
    image = image(ByteString.copyFrom(Files.readAllBytes(inputs.resolve("three.png"))));
    var sound = Audio.newBuilder().setData(ByteString.copyFrom(Files.readAllBytes(inputs.resolve("three.wav"))));
    audio = Content.newBuilder().setAudio(sound).build();
  }

  public static void main(String[] args) {
    var options = new HashMap<>(Map.of("--inputs", "."));
    for (int i = 1; i + 1 < args.length; i += 2) options.put(args[i], args[i + 1]);
    if (args.length % 2 == 0 || !Set.of("--ca", "--token", "--inputs").containsAll(options.keySet())) {
      System.err.println("usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]");
      System.exit(2);
    }
    try {
      run(args[0], options);
      System.out.println("all came out as it should");
    } catch (StatusRuntimeException | IllegalStateException | IOException failed) {
      System.err.println("tour: " + failed.getMessage());
      System.exit(1);
    }
  }

  private static void run(String address, Map<String, String> options) throws IOException {
    ManagedChannel channel = Connection.open(address, options.get("--ca"));
    try {
      var tour = new Tour(channel, options.get("--token"), Path.of(options.get("--inputs")));
      tour.embed();
      tour.classify();
      tour.stream();
      tour.badItem();
      tour.badRequest();
    } finally {
      channel.shutdownNow();
    }
  }

  /** Returns a stub for one call. A deadline counts from here, so each call takes a new one; without it a call may hang. */
  private OrchestratorServiceBlockingStub stub() {
    return blocking.withDeadlineAfter(10, TimeUnit.SECONDS);
  }

  /** Embeds a text, a picture and a sound in one call: three vectors of one space. Shows metadata both ways. */
  private void embed() {
    var sent = new Metadata();
    sent.put(REQUEST_ID, "tour-java-1"); // stands in the server's log; made there where absent
    var headers = new AtomicReference<Metadata>();
    var trailers = new AtomicReference<Metadata>();
    var stub =
        stub()
            .withInterceptors(
                MetadataUtils.newAttachHeadersInterceptor(sent), MetadataUtils.newCaptureMetadataInterceptor(headers, trailers));
    var request = EmbedRequest.newBuilder().addContents(text("the digit three")).addContents(image).addContents(audio);
    var response = stub.embed(request.build());
    for (var result : response.getResultsList()) {
      expect(result.hasEmbedding(), result.getError().getMessage());
      System.out.printf("embedded: %d numbers of %s%n", result.getEmbedding().getValuesCount(), result.getEmbedding().getSpace());
    }
    boolean isEchoed =
        Stream.of(headers.get(), trailers.get())
            .filter(Objects::nonNull) // an answer may lack either
            .anyMatch(all -> "tour-java-1".equals(all.get(REQUEST_ID)));
    expect(isEchoed, "x-request-id was not echoed");
    System.out.printf("request tour-java-1 took %.3f ms on the server%n", response.getReceipt().getTotalNs() / 1e6);
  }

  /** Classifies the picture and the sound by names alone (zero-shot). */
  private void classify() {
    var request = ClassifyRequest.newBuilder().addContents(image).addContents(audio).setTopK(1);
    Stream.of("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
        .forEach(name -> request.addLabels(Label.newBuilder().setName(name)));
    for (var result : stub().classify(request.build()).getResultsList()) {
      expect(result.hasRanking(), result.getError().getMessage());
      var best = result.getRanking().getLabels(0);
      System.out.printf("classified: %s (%.3f)%n", best.getName(), best.getProbability());
      expect(best.getName().equals("three"), "expected three");
    }
  }

  /** Streams many texts; answers may come out of order and are told apart by id. */
  private void stream() {
    var requests =
        IntStream.range(0, STREAM_COUNT)
            .mapToObj(i -> EmbedStreamRequest.newBuilder().setId("" + i).setContent(text("text number " + i)).build())
            .iterator(); // lazy: each is made when the transport can take it
    Set<String> answered = ConcurrentHashMap.newKeySet();
    EmbedStream.run(
        async.withDeadlineAfter(60, TimeUnit.SECONDS), // of the whole stream
        requests,
        response -> {
          if (response.getResult().hasEmbedding()) answered.add(response.getId());
          return true;
        });
    System.out.printf("streamed: %d texts, %d answers%n", STREAM_COUNT, answered.size());
    expect(answered.size() == STREAM_COUNT, "answers are missing");
  }

  /** One bad item fails alone; the call is OK. */
  private void badItem() {
    var request = EmbedRequest.newBuilder().addContents(text("this one is fine")).addContents(image(ByteString.EMPTY));
    var response = stub().embed(request.build());
    expect(response.getResults(0).hasEmbedding() && response.getResults(1).hasError(), "the second item alone should fail");
    System.out.println("a bad item:");
    Status error = response.getResults(1).getError();
    print(error);
    expect(reason(error).equals("ERROR_REASON_MEDIA_UNDECODABLE"), "another reason was expected");
  }

  /** A bad request fails as a whole, with the same details. */
  private void badRequest() {
    try {
      stub().embed(EmbedRequest.getDefaultInstance());
    } catch (StatusRuntimeException failed) {
      Status error = Failure.of(failed);
      System.out.println("a bad request:");
      print(error);
      expect(reason(error).equals("ERROR_REASON_EMPTY_REQUEST"), "another reason was expected");
      return;
    }
    throw new IllegalStateException("an empty request should be refused");
  }

  /** Says what an error tells a program: the field that is at fault, the reason, and whether to try again. */
  private static void print(Status error) {
    System.out.printf("  code %d: %s%n", error.getCode(), error.getMessage());
    for (var violation : Failure.detail(error, BadRequest.class).orElse(BadRequest.getDefaultInstance()).getFieldViolationsList()) {
      System.out.printf("  field %s: %s%n", violation.getField(), violation.getDescription());
    }
    System.out.println("  reason " + reason(error));
    var advice = Failure.retryDelay(error).map(delay -> "try again in " + delay);
    System.out.println("  " + advice.orElse("no use in trying again: no RetryInfo"));
  }

  private static String reason(Status error) {
    return Failure.detail(error, ErrorInfo.class).map(ErrorInfo::getReason).orElse("");
  }

  private static Content text(String text) {
    return Content.newBuilder().setText(text).build();
  }

  private static Content image(ByteString file) {
    return Content.newBuilder().setImage(Image.newBuilder().setData(file)).build();
  }

  private static void expect(boolean holds, String what) {
    if (!holds) throw new IllegalStateException(what);
  }
}
