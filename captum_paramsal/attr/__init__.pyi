from .cnn_fixations import CNNFixations as CNNFixations
from .discernible_neurons import DiscernibleNeurons as DiscernibleNeurons
from .input_space_saliency import InputSpaceSaliency as InputSpaceSaliency
from .model_doctor import ModelDoctor as ModelDoctor
from .parameter_saliency import ParameterSaliency as ParameterSaliency
from .pot_saliency import POTSaliency as POTSaliency
