"""The settings of a small ViT on MNIST, as a `config.json` of Hugging Face says them."""

VIT = {
    "architectures": ["ViTForImageClassification"],
    "attention_probs_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
    "hidden_size": 64,
    "image_size": 28,
    "initializer_range": 0.05,
    "intermediate_size": 256,
    "model_type": "vit",
    "num_attention_heads": 4,
    "num_channels": 1,
    "num_hidden_layers": 3,
    "num_labels": 10,
    "patch_size": 7,
}
