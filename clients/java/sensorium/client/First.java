package sensorium.client;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.util.concurrent.TimeUnit;
import sensorium.v1.Content;
import sensorium.v1.EmbedRequest;
import sensorium.v1.ItemResult;
import sensorium.v1.OrchestratorServiceGrpc;

/** The smallest call: embeds one text. Usage: first ADDRESS */
public final class First {
  public static void main(String[] args) {
    ManagedChannel channel = Grpc.newChannelBuilder(args[0], InsecureChannelCredentials.create()).build();
    try {
      var stub = OrchestratorServiceGrpc.newBlockingStub(channel).withDeadlineAfter(10, TimeUnit.SECONDS);
      var content = Content.newBuilder().setText("a small red circle");
      ItemResult result = stub.embed(EmbedRequest.newBuilder().addContents(content).build()).getResults(0);
      if (result.hasError()) throw new IllegalStateException(result.getError().getMessage()); // each content may fail by itself
      var vector = result.getEmbedding();
      System.out.printf("%s, %d numbers: ", vector.getSpace(), vector.getValuesCount());
      System.out.printf("%.3f %.3f …%n", vector.getValues(0), vector.getValues(1));
    } finally {
      channel.shutdownNow(); // its threads would go on for a while
    }
  }
}
