"""What several tests share: certificates, fake hosts and a local shell."""
